package main

import (
	"regexp"

	"tandem/core/data/registry"
)

// packages lists what the dataset reads with a root.
var packages = []registry.Package{
	{Registry: registry.NPM, Name: "emoji-datasource-google", Version: "16.0.0", Folder: "emoji-datasource-google", Proof: "package.json",
		Want: regexp.MustCompile(`^(package\.json|emoji\.json|LICENSE.*|README.*|img/google/64/.*\.png)$`)},
	{Registry: registry.NPM, Name: "emoji-datasource-twitter", Version: "16.0.0", Folder: "emoji-datasource-twitter", Proof: "package.json",
		Want: regexp.MustCompile(`^(package\.json|emoji\.json|LICENSE.*|README.*|img/twitter/64/.*\.png)$`)},
	{Registry: registry.NPM, Name: "@lobehub/fluent-emoji-3d", Version: "1.1.0", Folder: "fluent-emoji-3d", Proof: "package.json",
		Want: regexp.MustCompile(`^(package\.json|LICENSE.*|README.*|assets/.*\.webp)$`)},
	{Registry: registry.NPM, Name: "emojibase-data", Version: "17.0.0", Folder: "emojibase-data", Proof: "package.json",
		Want: regexp.MustCompile(`^(package\.json|LICENSE.*|README.*|(en|meta)/.*\.json)$`)},
}
