package mpi

import (
	"net"

	"golang.org/x/sys/unix"
)

// prepare has a connection end when the other machine acknowledges nothing for the time of deaf. The system of a process that is stopped
// still acknowledges.
func prepare(conn net.Conn) {
	c, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deaf.Milliseconds()))
	})
}
