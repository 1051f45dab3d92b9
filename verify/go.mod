module github.com/ratekeep/ratelimit/verify

go 1.26.0

require github.com/ratekeep/ratelimit v0.0.0

require github.com/anishathalye/porcupine v1.3.1

replace github.com/ratekeep/ratelimit => ../
