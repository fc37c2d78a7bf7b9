package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"tandem/core/fault"
	"tandem/core/results/store"
	"tandem/core/results/web"
	"tandem/core/results/web/answer"
	"tandem/core/results/web/home"
	"tandem/core/results/web/runs"
)

func (a *app) serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "serve", Short: "show results as live pages in a browser", Args: args(cobra.NoArgs),
		Long: "Show results as live pages in a browser. The pages only read: nothing is started or changed from them.",
	}
	a.dbFlag(c)
	a.runsDirFlag(c)
	addr := c.Flags().String("addr", "127.0.0.1:8080", "`address` to listen at; port 0 takes a free one")
	c.RunE = func(c *cobra.Command, _ []string) error {
		ctx, end := canceled()
		defer end()
		return a.reading(ctx, func(r *store.Reader) error {
			site := web.New(r, web.Options{RunsDir: a.runsDir, Albums: a.albums(false, false), Version: version})
			home.Add(site)
			answer.Add(site)
			runs.Add(site)
			return a.listen(ctx, site, *addr)
		})
	}
	return c
}

// listen serves a site until ctx ends.
func (a *app) listen(ctx context.Context, site http.Handler, addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fault.New(fault.Unavailable, "cannot listen at %s: %w", addr, err).WithHint("--addr 127.0.0.1:0 takes a free port")
	}
	server := &http.Server{Handler: site, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	if _, err := say(a.stdout, "http://%s/\n", l.Addr()); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fault.New(fault.Unavailable, "%w", err)
	}
	return nil
}
