package kubernetes

import (
	"hash/fnv"
	"regexp"
	"strconv"
	"strings"
)

// The forms of names (RFC 1123 and apimachinery's validation) and of quantities.
var (
	label     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	subdomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	quantity  = regexp.MustCompile(`^([0-9]+(\.[0-9]{0,3})?|\.[0-9]{1,3})(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$`)
)

const (
	labelRule     = "use small letters, digits and -, at most 63, with a letter or a digit at both ends"
	subdomainRule = "use small letters, digits, - and ., at most 253, with a letter or a digit at both ends"
)

func isLabel(s string) bool     { return len(s) <= 63 && label.MatchString(s) }
func isSubdomain(s string) bool { return len(s) <= 253 && subdomain.MatchString(s) }

// nameRoom is the longest name of a Job whose pods have host names: 63 less "-" and an index of up to five digits.
const nameRoom = 63 - 6

// Name returns the name of a Job for any text: "ablation of Loss/2" becomes "ablation-of-loss-2-k3x9". A text that
// is changed gets four characters of its hash, so that different texts have different names.
func Name(text, suffix string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else if b.Len() > 0 && !strings.HasSuffix(b.String(), "-") {
			b.WriteByte('-')
		}
	}
	name := strings.TrimSuffix(b.String(), "-")
	if name == "" || name != text || len(name)+len(suffix) > nameRoom {
		h := fnv.New32a()
		h.Write([]byte(text))
		hash := strconv.FormatUint(uint64(h.Sum32())|1<<31, 36)
		hash = hash[len(hash)-4:]
		name = strings.TrimSuffix(name[:min(len(name), nameRoom-len(suffix)-len(hash)-1)], "-")
		name = strings.TrimPrefix(name+"-"+hash, "-")
	}
	return name + suffix
}

// labelValue returns text as the value of a label: what may not stand there becomes "_".
func labelValue(text string) string {
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r) {
			return r
		}
		return '_'
	}, text)
	return strings.Trim(safe[:min(len(safe), 63)], "-_.")
}
