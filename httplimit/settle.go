package httplimit

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
)

// recorder remembers the status of a response on its way out.
type recorder struct {
	http.ResponseWriter
	status int // 0 until the header is written
}

func newRecorder(w http.ResponseWriter) *recorder { return &recorder{ResponseWriter: w} }

// Unwrap is for http.ResponseController.
func (rec *recorder) Unwrap() http.ResponseWriter { return unwrapped{rec} }

func (rec *recorder) WriteHeader(status int) {
	// Of several headers, the first that is not informational is the response's.
	if rec.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		rec.status = status
	}
	rec.ResponseWriter.WriteHeader(status)
}

func (rec *recorder) Write(p []byte) (int, error) {
	rec.wrote()
	return rec.ResponseWriter.Write(p)
}

func (rec *recorder) WriteString(s string) (int, error) {
	rec.wrote()
	return io.WriteString(rec.ResponseWriter, s)
}

// wrote is called before what writes the header if that has not been done.
func (rec *recorder) wrote() {
	if rec.status == 0 {
		rec.status = http.StatusOK
	}
}

func (rec *recorder) hijacked(err error) {
	if err == nil && rec.status == 0 {
		rec.status = http.StatusSwitchingProtocols
	}
}

// finalStatus is what the client is sent once the handler has returned.
func (rec *recorder) finalStatus() int {
	rec.wrote()
	return rec.status
}

// writer is a ResponseWriter that records, and has the optional methods that
// handlers ask for if the original has them: those of HTTP/1, or those of
// HTTP/2, or none.
func (rec *recorder) writer() http.ResponseWriter {
	_, flushes := rec.ResponseWriter.(http.Flusher)
	_, hijacks := rec.ResponseWriter.(http.Hijacker)
	_, pushes := rec.ResponseWriter.(http.Pusher)
	switch {
	case flushes && hijacks:
		return &http1Recorder{flushRecorder{rec}}
	case flushes && pushes:
		return &http2Recorder{flushRecorder{rec}}
	case flushes:
		return flushRecorder{rec}
	}
	return rec
}

type flushRecorder struct{ *recorder }

func (rec flushRecorder) Flush() { rec.FlushError() }

func (rec flushRecorder) FlushError() error {
	rec.wrote()
	return http.NewResponseController(rec.ResponseWriter).Flush()
}

type http1Recorder struct{ flushRecorder }

// Hijack hands over the connection. What is sent on it from then on is not
// known; it counts as 101 Switching Protocols.
func (rec *http1Recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := rec.ResponseWriter.(http.Hijacker).Hijack()
	rec.hijacked(err)
	return conn, rw, err
}

// ReadFrom lets the server use sendfile. A copy of nothing writes no header.
func (rec *http1Recorder) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(rec.ResponseWriter, r)
	if n > 0 {
		rec.wrote()
	}
	return n, err
}

// unwrapped is what an http.ResponseController comes to next. It records what the
// controller finds further in, and the recorder does not show for a method.
type unwrapped struct{ *recorder }

func (rec unwrapped) Unwrap() http.ResponseWriter { return rec.ResponseWriter }

func (rec unwrapped) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(rec.ResponseWriter).Hijack()
	rec.hijacked(err)
	return conn, rw, err
}

func (rec unwrapped) FlushError() error {
	err := http.NewResponseController(rec.ResponseWriter).Flush()
	if !errors.Is(err, http.ErrNotSupported) {
		rec.wrote()
	}
	return err
}

type http2Recorder struct{ flushRecorder }

func (rec *http2Recorder) Push(target string, opts *http.PushOptions) error {
	return rec.ResponseWriter.(http.Pusher).Push(target, opts)
}
