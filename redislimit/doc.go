// Package redislimit is the limiters of package ratelimit on a shared Redis.
package redislimit
