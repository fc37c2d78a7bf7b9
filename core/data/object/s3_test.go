package object

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"tandem/core/data/object/objecttest"
	"tandem/core/fault"
)

// fill makes a bucket of a server.
func fill(t *testing.T, s *objecttest.S3, bucket string, objects map[string][]byte) *minio.Client {
	t.Helper()
	c, err := minio.New(strings.TrimPrefix(s.Endpoint, "http://"), &minio.Options{Creds: credentials.NewStaticV4(objecttest.AccessKey, objecttest.SecretKey, "")})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if err := c.MakeBucket(ctx, bucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	for key, data := range objects {
		if _, err := c.PutObject(ctx, bucket, key, bytes.NewReader(data), int64(len(data)), minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func TestAnS3StoreIsListedAndRead(t *testing.T) {
	server := objecttest.Start(t)
	server.Env()
	data := bulk(2*blockBytes + 99)
	objects := map[string][]byte{"big.tar": data, "empty": {}, "odd/a b%?+é.tar": []byte("odd")}
	for i := range 3 {
		for _, folder := range []string{"x", "y/deep"} {
			objects[fmt.Sprintf("data/%s/s-%03d.tar", folder, i)] = fmt.Append(nil, folder, i)
		}
		objects[fmt.Sprintf("data/s-%03d.tar", i)] = fmt.Append(nil, i)
		objects[fmt.Sprintf("data/s-%03d.txt", i)] = nil
	}
	client := fill(t, server, "pairs", objects)
	ctx := context.Background()
	dir := t.TempDir()
	s := store(t, Options{CacheDir: dir, CacheBytes: 1 << 30})
	for pattern, want := range map[string][]string{
		"s3://pairs/data/*.tar":                 {"data/s-000.tar", "data/s-001.tar", "data/s-002.tar"},
		"s3://pairs/data/s-00[12].*":            {"data/s-001.tar", "data/s-001.txt", "data/s-002.tar", "data/s-002.txt"},
		"s3://pairs/data/*/s-002.tar":           {"data/x/s-002.tar"},
		"s3://pairs/*/{y/deep,x}/s-{000..001}*": {"data/y/deep/s-000.tar", "data/y/deep/s-001.tar", "data/x/s-000.tar", "data/x/s-001.tar"},
		"s3://pairs/nothing/there":              {"nothing/there"},
	} {
		got, err := s.List(ctx, pattern)
		for i := range want {
			want[i] = "s3://pairs/" + want[i]
		}
		if slices.Sort(want); pattern[len("s3://pairs/")] == '*' {
			slices.Sort(got)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v", pattern, got, err)
		}
	}
	if _, err := s.List(ctx, "s3://pairs/data/*.zip"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("%v", err)
	}
	o := openAt(t, s, "s3://pairs/big.tar")
	readAll(t, o, data)
	readAll(t, openAt(t, s, "s3://pairs/empty"), nil)
	readAll(t, openAt(t, s, "s3://pairs/odd/a b%?+é.tar"), []byte("odd"))
	warm := store(t, Options{CacheDir: dir, CacheBytes: 1 << 30})
	if again := openAt(t, warm, "s3://pairs/big.tar"); again.Version() != o.Version() {
		t.Errorf("versions %s and %s", o.Version(), again.Version())
	} else if readAll(t, again, data); warm.Fetched() != 0 {
		t.Errorf("%d bytes were fetched again", warm.Fetched())
	}

	// Another object under the same name is a conflict for those who hold the first.
	fresh := store(t, Options{})
	o = openAt(t, fresh, "s3://pairs/big.tar")
	if _, err := client.PutObject(ctx, "pairs", "big.tar", bytes.NewReader(data[1:]), int64(len(data)-1), minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := o.ReadAt(make([]byte, 10), 0); fault.KindOf(err) != fault.Conflict {
		t.Errorf("%v", err)
	}
}

func TestWhatAnS3StoreRefusesIsExplained(t *testing.T) {
	server := objecttest.Start(t)
	server.Env()
	client := fill(t, server, "closed", map[string][]byte{"a.tar": []byte("a")})
	fill(t, server, "open", map[string][]byte{"a.tar": []byte("a")})
	err := client.SetBucketPolicy(context.Background(), "open", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":["s3:GetObject","s3:ListBucket"],"Resource":["arn:aws:s3:::open/*","arn:aws:s3:::open"]}]}`)
	if err != nil {
		t.Fatal(err)
	}
	expect := func(name string, kind fault.Kind, words ...string) {
		t.Helper()
		_, err := store(t, Options{}).Open(context.Background(), name)
		text := fault.Format(err)
		for _, w := range append(words, name) {
			if fault.KindOf(err) != kind || !strings.Contains(text, w) || strings.Contains(text, objecttest.SecretKey) {
				t.Errorf("%s: no %q in: %s", name, w, text)
			}
		}
	}
	expect("s3://closed/b.tar", fault.NotFound, "404")
	expect("s3://nowhere/b.tar", fault.NotFound, "404")
	expect("s3://closed/", fault.Invalid, "is no object")
	if _, err := store(t, Options{}).List(context.Background(), "s3://nowhere/*"); fault.KindOf(err) != fault.NotFound || !strings.Contains(fault.Format(err), "there is no bucket nowhere") {
		t.Error(fault.Format(err))
	}
	for _, name := range []string{"s3://b/*.tar", "s3://Under_Score/a.tar"} {
		if names, err := store(t, Options{}).List(context.Background(), name); err == nil {
			_, err = store(t, Options{}).Open(context.Background(), names[0])
			if fault.KindOf(err) == "" || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %v", name, err)
			}
		} else if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "Bucket name") {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	expect("s3://closed/a.tar", fault.Unavailable, "403", "AWS_SECRET_ACCESS_KEY", "TAND…")
	if _, err := store(t, Options{}).List(context.Background(), "s3://closed/*"); !strings.Contains(fault.Format(err), "does not accept the key TAND…") {
		t.Error(fault.Format(err))
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	expect("s3://closed/a.tar", fault.Unavailable, "403", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", server.Endpoint)
	readAll(t, openAt(t, store(t, Options{}), "s3://open/a.tar"), []byte("a"))
	t.Setenv("AWS_ENDPOINT_URL", "127.0.0.1:9000/path")
	_, err = store(t, Options{}).Open(context.Background(), "s3://open/a.tar")
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "AWS_ENDPOINT_URL") {
		t.Errorf("%v", err)
	}
}
