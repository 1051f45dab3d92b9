package main

import (
	"fmt"
	"net/http"

	"github.com/ratekeep/ratelimit/httplimit"
)

// newMux is the server without its limits, of which only /dynamic knows.
func newMux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/fast", say("42"))
	mux.HandleFunc("/slow", say("24"))
	mux.HandleFunc("/ping", say("PONG"))
	mux.HandleFunc("POST /login", login)
	mux.HandleFunc("/dynamic", dynamic)
	mux.HandleFunc("/export", say("id,name"))
	return mux
}

func say(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, text) }
}

func login(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("password") != "secret" {
		http.Error(w, "wrong password", http.StatusUnauthorized)
		return
	}
	fmt.Fprintln(w, "welcome")
}

// dynamic tells the client what it has left.
func dynamic(w http.ResponseWriter, r *http.Request) {
	if res, ok := httplimit.FromContext(r.Context()); ok {
		fmt.Fprintf(w, "%d of %d left\n", res.Remaining, res.Limit)
	}
}
