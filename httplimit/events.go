package httplimit

import (
	"context"
	"log/slog"
	"net/http"
)

// The messages of the events that a Config's Logger is sent.
const (
	eventRefused = "rate limit exceeded"
	eventBanned  = "client banned"
	eventFailed  = "rate limit store failed"
)

func (v *visit) logRefusal(r *http.Request, res *Result) {
	log, ctx := v.config.Logger, v.Context
	if log == nil || !log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	log.LogAttrs(ctx, slog.LevelInfo, eventRefused,
		slog.String("method", r.Method),
		slog.String("route", res.Route),
		slog.String("limit", res.Policy),
		slog.String("key", res.Key()),
		slog.Duration("retry_after", res.RetryAfter),
		slog.Bool("banned", res.Banned),
		slog.Bool("dry_run", res.DryRun))
}

func (v *visit) logBan(k key) {
	log, ctx := v.config.Logger, v.Context
	if log == nil {
		return
	}
	log.LogAttrs(ctx, slog.LevelWarn, eventBanned,
		slog.String("key", k.who()),
		slog.Duration("for", v.ban.bans.Window),
		slog.Bool("dry_run", v.config.DryRun))
}

func (l *Limiter) logFailure(ctx context.Context, err error) {
	if log := l.config.Logger; log != nil {
		log.LogAttrs(ctx, slog.LevelError, eventFailed,
			slog.Any("error", err), slog.Bool("admitted", l.config.AdmitOnError))
	}
}
