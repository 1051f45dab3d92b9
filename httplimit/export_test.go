package httplimit

// Waiting is what the requests that are in line for l's limits cost in all.
func Waiting(l *Limiter) (n int) {
	l.lines.mu.Lock()
	defer l.lines.mu.Unlock()
	for _, ln := range l.lines.lines {
		n += ln.Ahead()
	}
	return n
}
