package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"tandem/core/experiment/gallery"
	"tandem/core/fault"
	"tandem/core/results/web"
	"tandem/core/results/web/answer"
	"tandem/core/results/web/ask"
	"tandem/core/results/web/compare"
	"tandem/core/results/web/flips"
	"tandem/core/results/web/guard"
	"tandem/core/results/web/home"
	"tandem/core/results/web/runs"
)

// pages add the pages of the site, a package each.
var pages = []func(*web.Site){
	home.Add,
	answer.Add,
	flips.Add,
	runs.Add,
	compare.Add,
	ask.Add,
}

// mostShare is the part of a core that open pages take at most.
const mostShare = 0.01

// serveFlags are the flags of serve.
type serveFlags struct {
	addr, tokenFile, cert, key string
	hosts                      []string
}

func (a *app) serveCommand() *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use: "serve", Short: "show results as live pages in a browser", Args: args(cobra.NoArgs),
		Long: `Show results as live pages in a browser: experiments with their boards, answers, runs and curves. The pages only read:
nothing is started or changed from them. They follow the database while trainings write to it, and a database that is
not there yet appears when it is.

Without --addr the server is reached from this machine only. From another one, the safest way is ssh:
  ssh -L 8080:127.0.0.1:8080 MACHINE
At any other address the server asks for a token, which is part of the address that it prints; --tls-cert and
--tls-key keep others on the network from reading along. Ctrl-C ends the server; nothing else notices.

The server runs with low priority (nice 10), and takes at most 1 % of a core to keep open pages as the database is.`,
		Example: "  runner serve\n  runner serve --db results/study.db --addr 127.0.0.1:0\n  runner serve --addr :8443 --host lab.example.org --tls-cert cert.pem --tls-key key.pem",
	}
	a.dbFlag(c)
	a.runsDirFlag(c)
	c.Flags().StringVar(&f.addr, "addr", "127.0.0.1:8080", "`address` to listen at; port 0 takes a free one")
	c.Flags().StringSliceVar(&f.hosts, "host", nil, "a further `name` by which browsers may ask for the server, as often as wanted")
	c.Flags().StringVar(&f.tokenFile, "token-file", "", "`file` with the token that is asked for; without it one is made where one is needed")
	c.Flags().StringVar(&f.cert, "tls-cert", "", "`file` with the certificate of the server (PEM)")
	c.Flags().StringVar(&f.key, "tls-key", "", "`file` with the key of the certificate (PEM)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		ctx, end := canceled()
		defer end()
		return a.serve(ctx, f)
	}
	return c
}

func (a *app) serve(ctx context.Context, f serveFlags) error {
	if (f.cert == "") != (f.key == "") {
		return usage{fault.New(fault.Invalid, "--tls-cert and --tls-key belong together").WithHint("--tls-cert FILE --tls-key FILE")}
	}
	yieldToTrainings()
	shelf := gallery.NewShelf(a.lab(), gallery.ShelfLimits{Most: 2, Idle: time.Minute, Retry: time.Minute})
	defer shelf.Close()
	site, err := web.Follow(a.db, web.Options{RunsDir: a.runsDir, Albums: albumsOf(shelf.Open), Version: version, Share: mostShare})
	if err != nil {
		return err
	}
	defer site.Close()
	for _, add := range pages {
		add(site)
	}
	var pair []tls.Certificate
	if f.cert != "" {
		one, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return fault.New(fault.Invalid, "--tls-cert %s --tls-key %s: %w", f.cert, f.key, err).WithHint("both are PEM files, and the key is that of the certificate")
		}
		pair = append(pair, one)
	}
	l, err := net.Listen("tcp", f.addr)
	if err != nil {
		return listenFault(f.addr, err)
	}
	defer l.Close()
	remote := !l.Addr().(*net.TCPAddr).IP.IsLoopback()
	g := guard.Guard{Hosts: f.hosts, Remote: remote, Secure: pair != nil}
	switch {
	case f.tokenFile != "":
		if g.Token, err = guard.ReadToken(f.tokenFile); err != nil {
			return err
		}
	case remote:
		g.Token = guard.NewToken()
	}
	if err := a.announce(l.Addr().(*net.TCPAddr), g, f); err != nil {
		return err
	}
	server := &http.Server{
		Handler: g.Protect(site), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	if pair != nil {
		server.TLSConfig = &tls.Config{Certificates: pair, MinVersion: tls.VersionTLS12}
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if pair != nil {
		err = server.ServeTLS(l, "", "")
	} else {
		err = server.Serve(l)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fault.New(fault.Unavailable, "%w", err)
	}
	return nil
}

// announce prints the address to open, and warns of what others could read along.
func (a *app) announce(addr *net.TCPAddr, g guard.Guard, f serveFlags) error {
	scheme, host := "http", addr.IP.String()
	if g.Secure {
		scheme = "https"
	}
	switch {
	case len(f.hosts) > 0:
		host = f.hosts[0]
	case addr.IP.IsUnspecified():
		if host, _ = os.Hostname(); outward() != "" {
			host = outward()
		}
	}
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(host, strconv.Itoa(addr.Port))
	}
	address := fmt.Sprintf("%s://%s/", scheme, host)
	if g.Token != "" && f.tokenFile == "" {
		address += "?token=" + g.Token
	}
	if g.Remote && !g.Secure {
		fmt.Fprintln(a.stderr, "warning: without TLS, everybody on the network in between can read what the pages show (names, figures, captions, pictures, logs) and the token, and then open them too.\n"+
			"  hint: --tls-cert FILE --tls-key FILE, or leave --addr away and use ssh -L "+strconv.Itoa(addr.Port)+":127.0.0.1:"+strconv.Itoa(addr.Port)+" MACHINE")
	}
	if info, err := os.Stat(f.tokenFile); err == nil && info.Mode().Perm()&0o044 != 0 {
		fmt.Fprintf(a.stderr, "warning: others on this machine can read the token in %s\n  hint: chmod 600 %s\n", fault.Printable(f.tokenFile), fault.Printable(shellWord(f.tokenFile)))
	}
	path, err := filepath.Abs(a.db)
	if err != nil {
		path = a.db
	}
	if _, err := say(a.stdout, "%s\n", address); err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "%s is shown there until Ctrl-C\n", fault.Printable(path))
	return nil
}

// outward returns the address of this machine that others reach it by; "" where that is not to be seen. No packet is sent.
func outward() string {
	c, err := net.Dial("udp", "192.0.2.1:9")
	if err != nil {
		return ""
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).IP.String()
}

func listenFault(addr string, err error) error {
	e := fault.New(fault.Unavailable, "cannot listen at %s: %w", addr, err)
	var wrong *net.AddrError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return e.WithHint("another program listens there, maybe another runner serve; --addr 127.0.0.1:0 takes a free port")
	case errors.Is(err, syscall.EACCES):
		return e.WithHint("ports below 1024 are for the administrator; take another one, such as --addr 127.0.0.1:8080")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return e.WithHint("this machine has no such address; --addr :8080 listens at all that it has")
	case errors.As(err, &wrong):
		return usage{e.WithHint("--addr HOST:PORT, such as 127.0.0.1:8080")}
	}
	return e.WithHint("--addr HOST:PORT, such as 127.0.0.1:8080")
}
