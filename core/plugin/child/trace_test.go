package child

import "testing"

// The author's own frames come first and those of libraries are few, in Go and in Python.
func TestTracesBeginWithTheAuthorsLines(t *testing.T) {
	python := `WARNING: before
Traceback (most recent call last):
  File "/venv/lib/python3.11/site-packages/grpc/_server.py", line 610, in _call_behavior
    response = behavior(argument, context)
               ^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/home/me/plugin/loss.py", line 7, in compute
    return helper(x)
  File "/home/me/plugin/lib/helper.py", line 3, in helper
    x.backward()
  File "/home/me/plugin/venv/lib/site-packages/torch/a.py", line 1, in a
  File "/venv/lib/python3.11/site-packages/torch/b.py", line 2, in b
  File "/venv/lib/python3.11/site-packages/torch/c.py", line 3, in c
  File "/venv/lib/python3.11/site-packages/torch/d.py", line 4, in d
ValueError: no gradient
after`
	want := `WARNING: before
ValueError: no gradient
in the plugin:
  File "/home/me/plugin/loss.py", line 7, in compute
    return helper(x)
  File "/home/me/plugin/lib/helper.py", line 3, in helper
    x.backward()
in libraries:
  File "/home/me/plugin/venv/lib/site-packages/torch/a.py", line 1, in a
  File "/venv/lib/python3.11/site-packages/torch/b.py", line 2, in b
  File "/venv/lib/python3.11/site-packages/torch/c.py", line 3, in c
  File "/venv/lib/python3.11/site-packages/torch/d.py", line 4, in d
  … and 1 more
after`
	if got := OwnFirst(python, "/home/me/plugin"); got != want {
		t.Errorf("Python:\n%s\nwant\n%s", got, want)
	}
	golang := `panic: index out of range [3] with length 2

goroutine 12 [running]:
runtime/debug.Stack()
	/go/src/runtime/debug/stack.go:26 +0x5e
panic({0x1, 0x2})
	/go/src/runtime/panic.go:783 +0x132
tandem/core/tensor.(*Tensor).F32(...)
	/tandem/core/tensor/tensor.go:9
example.org/mine/model.Forward(0x1)
	/mine/model/model.go:4 +0x1
main.(*loss).Compute(0xc0, {0x1, 0x2})
	/mine/loss.go:33 +0x1d
tandem/core/plugin/wire.(*lossServer).Compute.func1()
	/tandem/core/plugin/wire/services.go:120 +0x1
created by google.golang.org/grpc.(*Server).serve in goroutine 1
	/mod/grpc/server.go:1 +0x1
exit status 2`
	want = `panic: index out of range [3] with length 2

in the plugin:
  example.org/mine/model.Forward
    /mine/model/model.go:4
  main.(*loss).Compute
    /mine/loss.go:33
in libraries:
  tandem/core/tensor.(*Tensor).F32
    /tandem/core/tensor/tensor.go:9
  tandem/core/plugin/wire.(*lossServer).Compute.func1
    /tandem/core/plugin/wire/services.go:120
  created by google.golang.org/grpc.(*Server).serve
    /mod/grpc/server.go:1
exit status 2`
	got := OwnFirst(golang, "/mine")
	if got != want {
		t.Errorf("Go:\n%s\nwant\n%s", got, want)
	}
	for _, plain := range []string{"", "nothing odd\n", "Traceback (most recent call last):", "goroutine 1 [running]:"} {
		if got := OwnFirst(plain, "/mine"); got != plain {
			t.Errorf("%q became %q", plain, got)
		}
	}
}
