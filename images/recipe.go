// SPDX-License-Identifier: GPL-2.0

package images

import (
	"bufio"
	"embed"
	"fmt"
	"slices"
	"strings"
)

// fragments are the config fragments that built kernels are made from.
//
//go:embed kernels/*.config
var fragments embed.FS

// recipe says how a kernel is built from Debian's source of a series.
type recipe struct {
	series    string   // whose linux-source it is: one of KernelNames
	fragments []string // on top of tinyconfig, of kernels/
	edits     []edit   // of the source
	options   []string // of the module that is tested on it, as in Kconfig
}

// edit is a change of one line of the source, for what a later kernel mended.
type edit struct {
	file, line string // the line, which goes; a source without it fails the build
	why        string
}

// recipes are the kernels that find faults, by name.
func recipes() map[string]recipe {
	stackFilter := edit{"lib/Kconfig.debug", "	depends on !X86_64",
		"6.2 and later let fault injection look at stacks on x86-64, too"}
	selfTest := edit{"kernel/rcu/tasks.h", "	synchronize_rcu_tasks_rude();",
		"where the thread that it waits for got the mutex first, 6.1 never ends this test of its own at boot; 6.12 does"}
	debug := []string{"KSNIF_KUNIT_TEST", "KSNIF_TEST_POINTS", "KSNIF_GCOV"}
	return map[string]recipe{
		"debug-6.1":  {series: "6.1", fragments: []string{"base", "debug"}, edits: []edit{stackFilter, selfTest}, options: debug},
		"debug-6.12": {series: "6.12", fragments: []string{"base", "debug", "fanotify"}, options: debug},
		"kcsan-6.12": {series: "6.12", fragments: []string{"base", "kcsan"}, options: []string{"KSNIF_KUNIT_TEST", "KSNIF_TEST_POINTS"}},
	}
}

// BuiltKernelNames are the kernels that [Cache.Kernel] builds from source.
func BuiltKernelNames() []string {
	var names []string
	for name := range recipes() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// flavour is the first half of a name such as debug-6.1.
func flavour(name string) string {
	kind, _, _ := strings.Cut(name, "-")
	return kind
}

// config is the text of the recipe's fragments, joined.
func (r recipe) config(name string) (string, error) {
	text := fmt.Sprintf("CONFIG_LOCALVERSION=\"-%s\"\n", flavour(name))
	for _, f := range r.fragments {
		b, err := fragments.ReadFile("kernels/" + f + ".config")
		if err != nil {
			return "", err
		}
		text += string(b)
	}
	return text, nil
}

// unset returns the settings of a fragment that a finished .config does not have just so, each with what it has.
func unset(fragment, config string) []string {
	have := map[string]string{}
	for line := range strings.Lines(config) {
		if name, ok := symbol(line); ok {
			have[name] = strings.TrimSpace(line)
		}
	}
	var bad []string
	lines := bufio.NewScanner(strings.NewReader(fragment))
	for lines.Scan() {
		want := strings.TrimSpace(lines.Text())
		name, ok := symbol(want)
		if !ok || have[name] == want || have[name] == "" && strings.HasSuffix(want, "is not set") {
			continue
		}
		got := have[name]
		if got == "" {
			got = "nothing of it"
		}
		bad = append(bad, fmt.Sprintf("%s asked for, there is %s", want, got))
	}
	return bad
}

// symbol returns the option that a line of a .config sets or unsets.
func symbol(line string) (name string, ok bool) {
	line = strings.TrimPrefix(strings.TrimSpace(line), "# ")
	if !strings.HasPrefix(line, "CONFIG_") {
		return "", false
	}
	return line[:strings.IndexAny(line+" ", "= ")], true
}
