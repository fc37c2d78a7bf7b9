package assemble

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"tandem/core/clip"
	"tandem/core/engine/weights/keymap"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/files"
)

// Identifier computes the identities of runs. It hashes the weights of each path once, which the trials of a sweep
// share. The zero value is ready to use; it is not safe for concurrent use.
type Identifier struct {
	digests map[string]string // of weights, by path
}

// Identity returns the identity of a run of s with these plugins: equal for runs that compute the same.
func (i *Identifier) Identity(s *spec.Spec, used Plugins) (string, error) {
	contents, err := i.Contents(s, used)
	if err != nil {
		return "", err
	}
	digests := used.Digests()
	for _, c := range contents {
		switch c.Key {
		case "init.weights":
			digests["init"] = c.SHA256
			if !bothTowers(s.Init.Towers) {
				digests["init"] += " " + s.Init.Towers[0]
			}
		case "teacher.init.weights":
			digests["teacher.init"] = c.SHA256 + " " + strings.Join(s.Teacher.Init.Towers, " ")
		default:
			digests[c.Key] = c.SHA256
		}
	}
	return s.Identity(digests), nil
}

// Content describes a file or folder that a run reads, and that counts in its identity by what it holds.
type Content struct {
	Key    string // of the spec: init.weights, text.with.folder
	Path   string
	SHA256 string
}

// Contents returns the weights that a run of s with these plugins begins with: those of the model, of its teachers, and the published
// models that encoders begin with (clip.CapPretrained).
func (i *Identifier) Contents(s *spec.Spec, used Plugins) (all []Content, err error) {
	add := func(key, path string, of func(string) (string, error)) error {
		sha, err := i.digest(path, of)
		if err == nil {
			all = append(all, Content{key, path, sha})
		}
		return err
	}
	if s.Init.Weights != "" {
		if err := add("init.weights", s.Init.Weights, WeightsDigest); err != nil {
			return nil, err
		}
	}
	if s.Teacher != nil && s.Teacher.Init.Weights != "" {
		if err := add("teacher.init.weights", s.Teacher.Init.Weights, WeightsDigest); err != nil {
			return nil, ofTeacher(err)
		}
	}
	for _, p := range used {
		if !hasCapability(p.Descriptor, clip.CapPretrained) {
			continue
		}
		var with map[string]any
		if err := json.Unmarshal(towerOf(s, p.Role).With, &with); err != nil {
			return nil, fault.New(fault.Internal, "%s: %w", p.Role, err)
		}
		for _, f := range p.Descriptor.Schema {
			path, _ := with[f.Name].(string)
			if f.Type != clip.TypePath || path == "" {
				continue
			}
			key := p.Role + ".with." + f.Name
			if err := add(key, path, modelDigest); err != nil {
				return nil, fault.New(fault.KindOf(err), "%w", err).WithPath(key)
			}
		}
	}
	return all, nil
}

// besideWeights lists the files of a published model that tell what it computes, beside its weights.
var besideWeights = []string{"config.json", "tokenizer.json", "sentence_bert_config.json", "1_Pooling/config.json"}

// modelDigest returns the hex sha256 of a file, or of what counts in the folder of a published model: weights, sizes,
// tokenizer and pooling, as far as they are there.
func modelDigest(path string) (string, error) {
	if stat, err := os.Stat(path); err == nil && !stat.IsDir() {
		return files.Digest(path)
	}
	var list []string
	for _, name := range besideWeights {
		if file := filepath.Join(path, name); isFile(file) {
			list = append(list, file)
		}
	}
	if found, err := keymap.Locate(path); err == nil {
		list = append(list, found...)
	}
	h := sha256.New()
	for _, file := range list {
		sha, err := files.Digest(file)
		if err != nil {
			return "", err
		}
		name, _ := filepath.Rel(path, file)
		h.Write([]byte(name + " " + sha + "\n"))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func isFile(path string) bool {
	stat, err := os.Stat(path)
	return err == nil && stat.Mode().IsRegular()
}

// digest remembers what of returns for a path.
func (i *Identifier) digest(path string, of func(string) (string, error)) (string, error) {
	if sha, ok := i.digests[path]; ok {
		return sha, nil
	}
	sha, err := of(path)
	if err != nil {
		return "", err
	}
	if i.digests == nil {
		i.digests = map[string]string{}
	}
	i.digests[path] = sha
	return sha, nil
}

// WeightsDigest returns the hex sha256 of published weights or of a checkpoint folder's parameters.
func WeightsDigest(path string) (string, error) {
	if !isCheckpoint(path) {
		return publishedDigest(path)
	}
	h := sha256.New()
	for _, name := range append([]string{train.ImageFile, train.TextFile}, lossFiles(path)...) {
		sha, err := files.Digest(filepath.Join(path, name))
		if err != nil {
			return "", err
		}
		h.Write([]byte(sha))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// publishedDigest returns the hex sha256 of published weights: of their one file, or of the digests of their
// parts. It opens each file first, so that weights that cannot be read are refused before they are hashed.
func publishedDigest(path string) (string, error) {
	found, err := locateWeights(path, "init.weights")
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, file := range found {
		if err := keymap.Check(file); err != nil {
			if own, ok := err.(*fault.Error); ok && own.Path == "" {
				own.Path = "init.weights"
			}
			return "", err
		}
		sha, err := files.Digest(file)
		if err != nil || len(found) == 1 {
			return sha, err
		}
		h.Write([]byte(sha))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
