package fault

import "runtime/debug"

// Catch turns a panic of the function that defers it into an error with the stack, so that a bug costs what was being
// done and not the process.
func Catch(err *error) {
	if p := recover(); p != nil {
		*err = New(Internal, "panic: %v", p).WithDetail(string(debug.Stack())).WithHint("this is a bug in tandem; please report it with what is below")
	}
}

// Safely wraps f so that a panic in it becomes an error (Catch). A goroutine needs it, since its panics cannot
// be recovered elsewhere.
func Safely(f func() error) func() error {
	return func() (err error) {
		defer Catch(&err)
		return f()
	}
}
