package assemble

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"strings"

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
	digests := used.Digests()
	if s.Init.Weights != "" {
		sha, err := i.weightsDigest(s.Init.Weights)
		if err != nil {
			return "", err
		}
		digests["init"] = sha
		if !bothTowers(s.Init.Towers) {
			digests["init"] += " " + s.Init.Towers[0]
		}
	}
	if s.Teacher != nil && s.Teacher.Init.Weights != "" {
		sha, err := i.weightsDigest(s.Teacher.Init.Weights)
		if err != nil {
			return "", ofTeacher(err)
		}
		digests["teacher.init"] = sha + " " + strings.Join(s.Teacher.Init.Towers, " ")
	}
	return s.Identity(digests), nil
}

func (i *Identifier) weightsDigest(path string) (string, error) {
	if sha, ok := i.digests[path]; ok {
		return sha, nil
	}
	sha, err := WeightsDigest(path)
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
