package child

import "golang.org/x/sys/unix"

// refusedOld lists calls that newer architectures do without.
var refusedOld = []uint32{unix.SYS_CHMOD, unix.SYS_CHOWN, unix.SYS_LCHOWN}
