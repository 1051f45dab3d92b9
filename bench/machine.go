package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

// A machine is where the figures were measured.
type machine struct {
	Go    string `json:"go"`
	OS    string `json:"os"`
	Arch  string `json:"arch"`
	CPU   string `json:"cpu,omitempty"` // where the system tells
	Cores int    `json:"cores"`         // GOMAXPROCS
}

func thisMachine() machine {
	return machine{
		Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH,
		CPU: cpuName(), Cores: runtime.GOMAXPROCS(0),
	}
}

func (m machine) String() string {
	s := fmt.Sprintf("%s %s/%s, ", m.Go, m.OS, m.Arch)
	if m.CPU != "" {
		s += m.CPU + ", "
	}
	return s + plural(m.Cores, "core")
}

// moduleVersions are the versions of the modules in this program, as far as the
// build tells.
func moduleVersions() map[string]string {
	versions := make(map[string]string)
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			versions[m.Path] = m.Version
		}
	}
	return versions
}

// cpuName is the processor's name, or "" on systems without /proc.
func cpuName() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
