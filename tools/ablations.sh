#!/bin/sh
# Runs the ablations of docs/ablations (all, or those named) and writes their tables into the pages there. Finished runs
# are not repeated, so you may interrupt it at any time.
#
#   tools/ablations.sh [NAME...]
#
# RUNNER, DB and RUNS name the runner, the database and the folder of checkpoints.
set -e
cd "$(dirname "$0")/.."
runner=${RUNNER:-bin/runner}
db=${DB:-results/ablations.db}
runs=${RUNS:-results/runs}
[ $# -gt 0 ] || set -- pooling stem resnet temperature patch-size captions text-width batch-size

new=$(mktemp)
trap 'rm -f "$new"' EXIT
for name; do
	page=docs/ablations/$name.md
	metrics=
	case $name in # tags are captions too, so retrieval is compared as well
	captions) metrics=eval/emoji/top1,eval/emoji/text_to_image_R@5,eval/emoji/text_to_image_mean_rank ;;
	openclipart | data-mixture | data-filters) # needs Debian's packages and runner data get ifct
		metrics=eval/openclipart/image_to_text_R@10,eval/openclipart/text_to_image_R@10,eval/openclipart/top1
		metrics=$metrics,eval/tuxpaint/image_to_text_R@10,eval/tuxpaint/text_to_image_R@10,eval/tuxpaint/top1,eval/food/top1,eval/emoji/top1
		;;
	text-tower) # needs Debian's packages, runner data get ifct and make minilm
		metrics=eval/openclipart/image_to_text_R@10,eval/openclipart/text_to_image_R@10,eval/tuxpaint/image_to_text_R@10,eval/tuxpaint/text_to_image_R@10
		metrics=$metrics,eval/openclipart/top1,eval/tuxpaint/top1,eval/food/top1,eval/emoji/top1
		;;
	losses) # needs the teacher of experiments/losses.yaml
		metrics=eval/emoji/top1,eval/emoji/image_to_text_R@1,eval/emoji/text_to_image_R@1
		;;
	builder-filters) metrics=eval/documentation/image_to_text_R@10,eval/documentation/text_to_image_R@10 ;; # needs tools/docs-warc/sets.sh
	emoji-styles) metrics=eval/unseen/top1,eval/unseen/image_to_text_R@10,eval/unseen/text_to_image_R@10 ;; # needs runner data get emoji
	esac
	"$runner" run "experiments/$name.yaml" --db "$db" --runs-dir "$runs"
	"$runner" ablation "$name" --db "$db" ${metrics:+--metric "$metrics"} --format markdown >"$new"
	# The table stands between two comments. People write the text around it.
	awk -v table="$new" '
		/^<!-- end of table -->$/ { inside = 0 }
		!inside { print }
		/^<!-- table:/ { inside = 1; while ((getline line < table) > 0) print line }
	' "$page" >"$new.md"
	cat "$new.md" >"$page"
	rm -f "$new.md"
done
