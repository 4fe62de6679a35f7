// SPDX-License-Identifier: GPL-2.0

package frontdoor

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// typesTranscript types the README's command and expects to see what the README shows.
func typesTranscript(t *testing.T, dir string) {
	command, shown := transcript(t, read(t, dir, "README.md"))
	args := strings.Fields(strings.TrimPrefix(command, "make "))
	got := succeeds(t, dir, args...)
	assert.True(t, strings.HasSuffix(got.stdout, shown), "%s printed\n%s\nand the README shows\n%s", command, got.stdout, shown)
}

// transcript returns the README's command and what it prints: the indented block that begins with a prompt.
func transcript(t *testing.T, readme string) (command, shown string) {
	t.Helper()
	const prompt = "    $ "
	_, block, found := strings.Cut(readme, "\n"+prompt)
	require.True(t, found, "no transcript in the README")
	command, block, _ = strings.Cut(block, "\n")
	for _, line := range strings.SplitAfter(block, "\n") {
		if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "    ") {
			break
		}
		shown += strings.TrimPrefix(line, "    ")
	}
	return command, strings.TrimRight(shown, "\n") + "\n"
}

func TestTranscriptIsFound(t *testing.T) {
	command, shown := transcript(t, "text\n\n    $ make x Y=z\n    one\n\n      two\n\nmore\n")
	assert.Equal(t, "make x Y=z", command)
	assert.Equal(t, "one\n\n  two\n", shown)
}
