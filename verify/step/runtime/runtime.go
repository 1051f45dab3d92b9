// Package runtime is what limiters use of the standard library's.
package runtime

import "github.com/ratekeep/ratelimit/verify/step"

func Gosched() { step.Yield() }
