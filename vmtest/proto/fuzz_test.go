// SPDX-License-Identifier: GPL-2.0

package proto

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzRecord: whatever a record carries, it is one line, and the host reads what the guest sent.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"kind":"end","test":"TestX","result":"pass","elapsed":5}`))
	f.Add([]byte(`{"kind":"problem","problems":[{"type":"splat","text":"BUG: x","more":"a\nb"}],"allowed":["\u2028"]}`))
	f.Add([]byte("{\"kind\":\"output\",\"text\":\"\xff\\u0000\"}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var sent, got Record
		if json.Unmarshal(b, &sent) != nil {
			return
		}
		line, err := Line(sent)
		require.NoError(t, err)
		require.Equal(t, len(line)-1, bytes.IndexByte(line, '\n'))
		require.NoError(t, json.Unmarshal(line, &got))
		again, err := Line(got)
		require.NoError(t, err)
		require.Equal(t, string(line), string(again))
	})
}
