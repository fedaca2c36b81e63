// fake-upstash is an in-memory stand-in for the DLQ API of Upstash Workflow, made to measure clients of that API: it is
// fast, keeps the time of every call, holds millions of entries in little memory, and can be given a latency.
//
// It checks little. What an operator does with answers that are wrong is for the simulator (simulator/) and its tests.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	address := flag.String("listen", "127.0.0.1:0", "address to listen on")
	portFile := flag.String("port-file", "", "file that the port is written to")
	tokens := flag.String("tokens", "", "comma-separated tokens to accept before anything is seeded")
	flag.Parse()

	s := newServer()
	for _, t := range strings.Split(*tokens, ",") {
		if t != "" {
			s.dlq(t, true)
		}
	}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	if *portFile != "" {
		port := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
		// Renamed into place: a reader of the file finds the whole number.
		if err := errors.Join(os.WriteFile(*portFile+".new", []byte(port), 0o600), os.Rename(*portFile+".new", *portFile)); err != nil {
			log.Fatal(err)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	srv := &http.Server{Handler: s, ReadHeaderTimeout: 30 * time.Second}
	go func() {
		<-ctx.Done()
		_ = srv.Close()
	}()
	if err := srv.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}
