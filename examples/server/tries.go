package main

import (
	"fmt"
	"strings"
)

// try is something to do with the server, by hand or in its test.
type try struct {
	about  string
	method string
	path   string
	header [2]string // a field and its value, or nothing
	form   string
	times  int
}

var tries = []try{
	{about: "2 per minute and 1 per second: the second one comes too soon", method: "GET", path: "/fast", times: 2},
	{about: "1 per day", method: "GET", path: "/slow", times: 2},
	{about: "as often as you like", method: "GET", path: "/ping", times: 9},
	{about: "5 failed logins per minute: the sixth is not even looked at", method: "POST", path: "/login", form: "password=guess", times: 6},
	{about: "2 per minute for a guest", method: "GET", path: "/dynamic", times: 3},
	{about: "10 per minute for an admin, who has used 2 as a guest", method: "GET", path: "/dynamic", header: [2]string{"X-Role", "admin"}, times: 9},
	{about: "2 per hour for each user", method: "GET", path: "/export", header: [2]string{"X-User", "alice"}, times: 3},
}

// curl is the command line that does it.
func (t try) curl(server string) string {
	words := []string{"curl -i"}
	if t.header[0] != "" {
		words = append(words, "-H '"+t.header[0]+": "+t.header[1]+"'")
	}
	if t.form != "" {
		words = append(words, "-d '"+t.form+"'")
	}
	// curl asks once for each number, which makes no difference to the server.
	words = append(words, fmt.Sprintf("'%s%s?[1-%d]'", server, t.path, t.times))
	return strings.Join(words, " ")
}
