#!/bin/sh
# Makes the training sets of experiments/builder-filters.yaml: an archive of installed documentation (tools/docs-warc/make.py names the
# packages), the set with all filters of runner data build, and a set with each filter off that has nothing of the first set's first
# shard, which is the test.
#
#	sh tools/docs-warc/sets.sh [FOLDER]     # otherwise ~/.local/share/tandem/docs-pairs
set -eu
cd "$(dirname "$0")/../.."
runner=$PWD/bin/runner
make=$PWD/tools/docs-warc/make.py
folder=${1:-$HOME/.local/share/tandem/docs-pairs}
mkdir -p "$folder"
cd "$folder"
[ -e docs.warc.gz ] || { python3 "$make" docs.warc.gz.new && mv docs.warc.gz.new docs.warc.gz; }

cat > all.yaml <<END
out: all
sources: [{warc: docs.warc.gz}]
shards: {samples: 500, side: 128, shuffle: 1}
END
cat > train.yaml <<END
sources: [{warc: docs.warc.gz}]
shards: {samples: 500, side: 128, shuffle: 1}
filters: {leakage: {against: [all/shard-000000.tar]}}
END
"$runner" data build all.yaml
for filter in none length boilerplate repeated size aspect flat exact perceptual exact,perceptual; do
	set=no-$filter
	[ -e "$set" ] || { cp -r all "$set.new" && mv "$set.new" "$set"; } # what is collected once serves all
	without=
	[ "$filter" = none ] || without="--without $filter"
	"$runner" data build train.yaml -o "$set" --rejudge $without
done
