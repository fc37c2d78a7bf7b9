package catalog

import "strings"

// kin maps single code points that the charts gave to each gender or age-neutral form separately to
// the one that stands for all: man, woman → person; and so on.
var kin = map[string]string{
	"1F468": "1F9D1", "1F469": "1F9D1", // man, woman: person
	"1F466": "1F9D2", "1F467": "1F9D2", // boy, girl: child
	"1F474": "1F9D3", "1F475": "1F9D3", // old man, old woman: older person
	"1F478": "1FAC5", "1F934": "1FAC5", // princess, prince: person with crown
	"1F57A": "1F483",                   // man dancing: woman dancing
	"1F930": "1FAC4", "1FAC3": "1FAC4", // pregnant woman, man: person
	"1F46C": "1F46B", "1F46D": "1F46B", // men, women: woman and man holding hands
}

// family lists the code points that make up families, kisses and couples with a heart.
var family = map[string]bool{"1F9D1": true, "1F9D2": true, "2764": true, "1F48B": true, "1F91D": true}

// sequences maps the cases that the other rules leave.
var sequences = map[string]string{
	"1F385": "1F936", "1F9D1-1F384": "1F936", // Santa Claus, Mx Claus: Mrs. Claus
	"1F9D1-1F91D-1F9D1": "1F46B",                   // people holding hands
	"1F9D1-2764-1F9D1":  "1F491",                   // couple with heart
	"1F9D1-1F48B-1F9D1": "1F48F",                   // kiss
	"1F470":             "1F470", "1F935": "1F935", // veil and tuxedo stay apart
	"1F6B9": "1F6BB", "1F6BA": "1F6BB", // men's, women's room: restroom
}

// Identity names what a hex sequence depicts, leaving out skin tone, hair, gender and facing
// direction: the same string for all variants.
func Identity(hex string) string {
	var kept []string
	people := true
	for _, c := range strings.Split(strings.ToUpper(hex), "-") {
		switch c {
		case "FE0F", "200D", "2640", "2642", "27A1",
			"1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF",
			"1F9B0", "1F9B1", "1F9B2", "1F9B3": // red, curly, bald, white hair
			continue
		}
		if to, ok := kin[c]; ok {
			c = to
		}
		people = people && family[c]
		kept = append(kept, c)
	}
	if len(kept) == 0 { // a component by itself is its own thing
		return strings.ToLower(WithoutSelectors(hex))
	}
	key := strings.Join(kept, "-")
	key = strings.ReplaceAll(key, "2764-1F48B", "1F48B") // a kiss is written with a heart
	if to, ok := sequences[key]; ok {
		key = to
	} else if len(kept) > 1 && people {
		key = "1F46A" // any family
	}
	return strings.ToLower(key)
}
