package remote

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"tandem/core/fault"
)

// s3 reads from stores that speak S3. Server, region and keys are those of the environment, as for Amazon's programs.
type s3 struct {
	transport http.RoundTripper
	once      sync.Once
	core      *minio.Core
	keys      *credentials.Credentials
	err       error
}

// amazon is the server where the environment names none.
const amazon = "https://s3.amazonaws.com"

// connect makes the client, once.
func (s *s3) connect() (*minio.Core, error) {
	s.once.Do(func() {
		endpoint := firstEnv("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
		region := firstEnv("AWS_REGION", "AWS_DEFAULT_REGION")
		if endpoint == "" {
			endpoint = amazon
		} else if region == "" {
			region = "us-east-1" // what other servers than Amazon's call the only one they have
		}
		if !strings.Contains(endpoint, "://") {
			endpoint = "https://" + endpoint
		}
		u, err := url.Parse(endpoint)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.User != nil {
			s.err = fault.New(fault.Invalid, "AWS_ENDPOINT_URL is %q, want the address of a server", endpoint).WithHint("for example http://127.0.0.1:9000")
			return
		}
		s.keys = credentials.NewChainCredentials(providers(endpoint == amazon))
		s.core, err = minio.NewCore(u.Host, &minio.Options{Creds: s.keys, Secure: u.Scheme == "https", Region: region,
			Transport: s.transport, MaxRetries: 1})
		if err != nil {
			s.err = fault.New(fault.Invalid, "AWS_ENDPOINT_URL: %w", err)
		}
	})
	return s.core, s.err
}

// providers lists where keys may be, in the order in which they are looked for. Where there are none requests are anonymous.
func providers(onAmazon bool) []credentials.Provider {
	list := []credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}}
	named := firstEnv("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI") != ""
	off := strings.EqualFold(firstEnv("AWS_EC2_METADATA_DISABLED"), "true")
	switch {
	case named:
		list = append(list, &credentials.IAM{Client: &http.Client{Timeout: 10 * time.Second}})
	case onAmazon && !off: // a machine of Amazon's tells its keys at once; elsewhere nobody answers
		list = append(list, &credentials.IAM{Client: &http.Client{Timeout: time.Second, Transport: &http.Transport{}}})
	}
	return list
}

func (s *s3) stat(ctx context.Context, u *url.URL) (Info, error) {
	core, err := s.connect()
	if err != nil {
		return Info{}, err
	}
	if u.Path == "" || strings.HasSuffix(u.Path, "/") {
		return Info{}, fault.New(fault.Invalid, "%s is no object", Display(u)).WithHint("write s3://bucket/key, or a pattern: s3://bucket/folder/*.tar")
	}
	o, err := core.StatObject(ctx, u.Host, u.Path, minio.StatObjectOptions{})
	if err != nil {
		return Info{}, s.wrap(err)
	}
	return Info{Size: o.Size, Version: o.ETag, Ranges: true}, nil
}

func (s *s3) read(ctx context.Context, u *url.URL, at Info, off, n int64) (io.ReadCloser, error) {
	core, err := s.connect()
	if err != nil {
		return nil, err
	}
	var o minio.GetObjectOptions
	if err := o.SetRange(off, off+n-1); err != nil {
		return nil, fault.New(fault.Internal, "%w", err)
	}
	if at.Version != "" {
		if err := o.SetMatchETag(at.Version); err != nil {
			return nil, fault.New(fault.Internal, "%w", err)
		}
	}
	body, info, header, err := core.GetObject(ctx, u.Host, u.Path, o)
	if err != nil {
		return nil, s.wrap(err)
	}
	if info.ETag != at.Version || wholeSize(header) >= 0 && wholeSize(header) != at.Size {
		body.Close()
		return nil, changed(u)
	}
	return body, nil
}

// wrap makes a status of an error of S3, and of what the client itself refuses a fault.
func (s *s3) wrap(err error) error {
	var answer minio.ErrorResponse
	if !errors.As(err, &answer) || answer.StatusCode == 0 {
		_, sent := errors.AsType[*url.Error](err)
		_, network := errors.AsType[net.Error](err)
		_, cut := errors.AsType[*xml.SyntaxError](err) // an answer that ends too soon
		if sent || network || cut || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.Canceled) {
			return err
		}
		return fault.New(fault.Invalid, "%w", err)
	}
	st := &status{code: answer.StatusCode, s3: answer.Code, message: answer.Message, endpoint: s.core.EndpointURL().String()}
	if strings.Contains(st.s3, " ") { // the status line, where the server gave no code
		st.s3, st.message = "", ""
	}
	if v, err := s.keys.GetWithContext(s.core.CredContext()); err == nil {
		st.keys = v.AccessKeyID
	}
	return st
}

// isPattern reports whether a key has wildcards.
func isPattern(key string) bool { return strings.ContainsAny(key, "*?[") }

// list expands a pattern folder by folder, as filepath.Glob does: a wildcard stands for no slash.
func (s *s3) list(ctx context.Context, u *url.URL) ([]string, error) {
	core, err := s.connect()
	if err != nil {
		return nil, err
	}
	if _, err := path.Match(u.Path, ""); err != nil {
		return nil, fault.New(fault.Invalid, "%s is no pattern: %w", Display(u), err)
	}
	found := []string{""} // folders, with their slashes, that what is left of the pattern begins in
	parts := strings.Split(u.Path, "/")
	for i, part := range parts {
		last := i == len(parts)-1
		if !isPattern(part) && !last {
			for k := range found {
				found[k] += part + "/"
			}
			continue
		}
		var next []string
		for _, folder := range found {
			here, err := s.folder(ctx, core, u.Host, folder, part, last)
			if err != nil {
				return nil, err
			}
			next = append(next, here...)
		}
		found = next
	}
	slices.Sort(found)
	for i, key := range found {
		found[i] = "s3://" + u.Host + "/" + key
	}
	return found, nil
}

// folder lists the objects of a folder, or its folders, whose names match.
func (s *s3) folder(ctx context.Context, core *minio.Core, bucket, folder, pattern string, objects bool) (found []string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()                                                            // ends the listing's goroutine
	literal := pattern[:len(pattern)-len(strings.TrimLeft(pattern, letters))] // which the server may compare itself
	for o := range core.Client.ListObjects(ctx, bucket, minio.ListObjectsOptions{Prefix: folder + literal}) {
		if o.Err != nil {
			return nil, s.wrap(o.Err)
		}
		watch(ctx).timer.Reset(idle)
		name, isFolder := strings.CutSuffix(o.Key, "/")
		if isFolder == objects {
			continue
		}
		if ok, _ := path.Match(pattern, strings.TrimPrefix(name, folder)); ok {
			found = append(found, o.Key)
		}
	}
	return found, nil
}

// letters are characters that stand for themselves in every pattern.
const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_. "
