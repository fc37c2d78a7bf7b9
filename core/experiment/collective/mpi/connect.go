package mpi

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"tandem/core/experiment/collective"
	"tandem/core/fault"
)

// How long ranks take to connect at most, and one attempt at one address.
const (
	connectWait = 30 * time.Second
	dialWait    = 3 * time.Second
)

// invitation is what rank 0 tells the others, by way of MPI.
type invitation struct {
	Host      string   `json:"host"`
	Addresses []string `json:"addresses"`
	Token     []byte   `json:"token"` // both ends prove that they know it
	Failed    string   `json:"failed,omitempty"`
}

// startWatch connects this rank with rank 0, or rank 0 with all others. All ranks call it.
func (g *group) startWatch(ctx context.Context) error {
	ctx, end := context.WithTimeout(ctx, connectWait)
	defer end()
	w := &watch{g: g, host: collective.Host()}
	var mine invitation
	var door net.Listener
	if g.rank == 0 {
		door, mine = invite(w.host)
		if door != nil {
			defer door.Close()
		}
	}
	text, err := json.Marshal(mine)
	if err != nil {
		return err
	}
	if text, err = g.Broadcast(ctx, text); err != nil {
		return err
	}
	var to invitation
	if err := json.Unmarshal(text, &to); err != nil {
		return fault.New(fault.Internal, "what rank 0 says: %w", err)
	}
	switch {
	case to.Failed != "":
		err = fault.New(fault.Unavailable, "rank 0 can be connected to by nobody: %s", to.Failed)
	case g.rank == 0:
		err = w.receive(ctx, door, to)
	default:
		err = w.connect(ctx, to)
	}
	// All know what became of the others before one ends.
	said := ""
	if err != nil {
		said = err.Error()
	}
	all, met := g.Gather(ctx, []byte(said))
	if err == nil {
		err = met
	}
	for r, text := range all {
		if err == nil && len(text) > 0 {
			err = fault.New(fault.Unavailable, "rank %d: %s", r, text)
		}
	}
	if err != nil {
		return err
	}
	g.watch = w
	w.begin()
	return nil
}

// invite opens a port on all interfaces until all ranks are connected.
func invite(host string) (net.Listener, invitation) {
	mine := invitation{Host: host, Token: make([]byte, 32)}
	_, _ = rand.Read(mine.Token) // never fails
	door, err := net.Listen("tcp", ":0")
	if err != nil {
		return nil, invitation{Failed: err.Error()}
	}
	_, port, _ := net.SplitHostPort(door.Addr().String())
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return door, invitation{Failed: err.Error()}
	}
	for _, a := range addresses {
		if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLinkLocalUnicast() {
			mine.Addresses = append(mine.Addresses, net.JoinHostPort(ip.IP.String(), port))
		}
	}
	return door, mine
}

// connect tries the addresses of rank 0 one after the other.
func (w *watch) connect(ctx context.Context, to invitation) error {
	var tried []string
	for _, address := range to.Addresses {
		conn, err := (&net.Dialer{Timeout: dialWait}).DialContext(ctx, "tcp", address)
		if err == nil {
			if err = introduce(conn, to.Token, w.g.rank, w.host); err == nil {
				prepare(conn)
				w.peers = []*peer{{rank: 0, host: to.Host, conn: conn}}
				return nil
			}
			conn.Close()
		}
		tried = append(tried, fmt.Sprintf("%s (%v)", address, err))
	}
	return fault.New(fault.Unavailable, "rank %d on %s reaches rank 0 on %s at none of its addresses: %s", w.g.rank, w.host, to.Host, strings.Join(tried, "; ")).
		WithHint("ranks need TCP connections to rank 0 beside MPI; a firewall between the machines may be in the way")
}

// receive waits until all other ranks are connected.
func (w *watch) receive(ctx context.Context, door net.Listener, mine invitation) error {
	deadline, _ := ctx.Deadline()
	if l, ok := door.(*net.TCPListener); ok {
		_ = l.SetDeadline(deadline)
	}
	w.peers = make([]*peer, w.g.size-1)
	for missing := len(w.peers); missing > 0; {
		conn, err := door.Accept()
		if err != nil {
			return fault.New(fault.Unavailable, "%d of %d ranks did not connect to rank 0 on %s: %w", missing, w.g.size-1, w.host, err)
		}
		rank, host, err := welcome(conn, mine.Token)
		if err != nil || rank < 1 || rank >= w.g.size || w.peers[rank-1] != nil {
			conn.Close() // a stranger
			continue
		}
		prepare(conn)
		w.peers[rank-1] = &peer{rank: rank, host: host, conn: conn}
		missing--
	}
	return nil
}

// The words at the beginning of a connection, a line each: rank 0 gives a random number, the other its rank, host and proof, rank 0
// its own proof.

func introduce(conn net.Conn, token []byte, rank int, host string) error {
	_ = conn.SetDeadline(time.Now().Add(dialWait))
	nonce, err := line(conn)
	if err != nil {
		return err
	}
	who := strconv.Itoa(rank) + " " + strconv.Quote(host)
	if _, err := fmt.Fprintf(conn, "%s %s\n", proof(token, nonce, who), who); err != nil {
		return err
	}
	answer, err := line(conn)
	if err != nil {
		return err
	}
	if !hmac.Equal([]byte(answer), []byte(proof(token, nonce, "welcome"))) {
		return errors.New("something else answers there")
	}
	return conn.SetDeadline(time.Time{})
}

func welcome(conn net.Conn, token []byte) (rank int, host string, err error) {
	_ = conn.SetDeadline(time.Now().Add(dialWait))
	number := make([]byte, 16)
	_, _ = rand.Read(number)
	nonce := hex.EncodeToString(number)
	if _, err := fmt.Fprintf(conn, "%s\n", nonce); err != nil {
		return 0, "", err
	}
	text, err := line(conn)
	if err != nil {
		return 0, "", err
	}
	given, who, _ := strings.Cut(text, " ")
	if !hmac.Equal([]byte(given), []byte(proof(token, nonce, who))) {
		return 0, "", errors.New("a stranger")
	}
	if _, err := fmt.Sscanf(who, "%d %q", &rank, &host); err != nil {
		return 0, "", err
	}
	if _, err := fmt.Fprintf(conn, "%s\n", proof(token, nonce, "welcome")); err != nil {
		return 0, "", err
	}
	return rank, host, conn.SetDeadline(time.Time{})
}

// line reads no more than a line.
func line(conn net.Conn) (string, error) {
	var text []byte
	for one := make([]byte, 1); len(text) < 512; text = append(text, one[0]) {
		if _, err := conn.Read(one); err != nil {
			return "", err
		}
		if one[0] == '\n' {
			return string(text), nil
		}
	}
	return "", errors.New("a line is too long")
}

func proof(token []byte, nonce, text string) string {
	mac := hmac.New(sha256.New, token)
	mac.Write([]byte(nonce + " " + text))
	return hex.EncodeToString(mac.Sum(nil))
}
