package httplimit

// Waiting is how many requests wait for l's limits.
func Waiting(l *Limiter) int { return int(l.lines.waiting.Load()) }
