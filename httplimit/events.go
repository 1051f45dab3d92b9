package httplimit

import (
	"context"
	"log/slog"
)

// The messages of the events that a Config's Logger is sent.
const (
	eventRefused = "rate limit exceeded"
	eventBanned  = "client banned"
	eventFailed  = "rate limit store failed"
)

func (q *request) logRefusal(res *Result) {
	log, ctx := q.config.Logger, q.Context()
	if log == nil || !log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	log.LogAttrs(ctx, slog.LevelInfo, eventRefused,
		slog.String("method", q.Method),
		slog.String("route", res.Route),
		slog.String("limit", res.Limit),
		slog.String("key", res.Key()),
		slog.Duration("retry_after", res.RetryAfter),
		slog.Bool("banned", res.Banned),
		slog.Bool("dry_run", res.DryRun))
}

func (q *request) logBan(k key) {
	log, ctx := q.config.Logger, q.Context()
	if log == nil {
		return
	}
	log.LogAttrs(ctx, slog.LevelWarn, eventBanned,
		slog.String("key", k.who()),
		slog.Duration("for", q.ban.bans.Window),
		slog.Bool("dry_run", q.config.DryRun))
}

func (l *Limiter) logFailure(ctx context.Context, err error) {
	if log := l.config.Logger; log != nil {
		log.LogAttrs(ctx, slog.LevelError, eventFailed,
			slog.Any("error", err), slog.Bool("admitted", l.config.AdmitOnError))
	}
}
