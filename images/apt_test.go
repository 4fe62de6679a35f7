// SPDX-License-Identifier: GPL-2.0

package images

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMirrors(t *testing.T) {
	const key = "/usr/share/keyrings/debian-archive-keyring.gpg"
	tests := map[string]struct {
		targets []string
		want    []string
	}{
		"lists were fetched": {
			targets: []string{
				"http://a.example/debian/|bookworm|main|Debian|Debian|" + key,
				"http://a.example/debian/|bookworm-updates|main|Debian|Debian|" + key,
				"http://a.example/debian-security/|bookworm-security|main|Debian|Debian-Security|" + key,
			},
			want: []string{"http://a.example/debian/"},
		},
		"no lists yet": {
			targets: []string{
				"http://a.example/deb/|stable|main|||" + key,
				"http://a.example/sec/|stable-security|main|||" + key,
			},
			want: []string{"http://a.example/deb/"},
		},
		"the same suite names elsewhere": {
			targets: []string{
				"https://tool.example/debian/|bookworm|main|Tool|Tool|/etc/apt/keyrings/tool.gpg",
				"https://dock.example/linux/debian/|bookworm|stable|||",
				"https://other.example/apt/|bookworm|main|||/etc/apt/keyrings/other.gpg",
				"http://a.example/debian/|trixie|main|Debian|Debian|",
			},
			want: []string{"http://a.example/debian/"},
		},
		"the surest first": {
			targets: []string{
				"http://guess.example/debian/|bookworm|main|||",
				"http://signed.example/mirror/|bookworm|main|||" + key,
				"http://known.example/d/|bookworm|main|Debian|Debian|" + key,
				"http://backports.example/d/|bookworm-backports|main|Debian|Debian Backports|" + key,
			},
			want: []string{
				"http://known.example/d/", "http://backports.example/d/", "http://signed.example/mirror/", "http://guess.example/debian/",
			},
		},
		"discs are no mirrors": {targets: []string{"cdrom:[Debian]/|bookworm|main|Debian|Debian|"}},
		"other distribution":   {targets: []string{"http://u.example/ubuntu/|noble|main|Ubuntu|Ubuntu|"}},
		"noise":                {targets: []string{"", "W: something", "a|b|c"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, append([]string{}, tt.want...), mirrors(strings.Join(tt.targets, "\n")))
		})
	}
}

func TestPackagesFromURIs(t *testing.T) {
	got, err := packagesFromURIs("NOTE: a remark\n" +
		"'http://a.example/pool/b.deb' busybox-static_1%3a1.35.0-4%2bb1_amd64.deb 928188 SHA256:00\n" +
		"'http://a.example/pool/n.deb' netbase_6.4_all.deb 12 \n")
	require.NoError(t, err)
	assert.Equal(t, []pkg{{"busybox-static", "1:1.35.0-4+b1"}, {"netbase", "6.4"}}, got)
	assert.Equal(t, "netbase=6.4", got[1].String())

	_, err = packagesFromURIs("'http://a.example/x.deb' x.deb 12 \n")
	require.ErrorContains(t, err, "NAME_VERSION_ARCH")
}

// testApt is a private apt of its own; the test is skipped where there is none.
func testApt(t *testing.T) *apt {
	t.Helper()
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("no apt-get on this machine")
	}
	a, err := (&Cache{Dir: t.TempDir()}).apt("amd64")
	if err != nil {
		t.Skip(err)
	}
	return a
}

// TestUnsignedMirrorIsRefused has apt read an archive on disk that nobody signed.
func TestUnsignedMirrorIsRefused(t *testing.T) {
	a := testApt(t)
	archive := t.TempDir()
	for _, suite := range []string{suiteStable, suiteBackports} {
		dir := filepath.Join(archive, "dists", suite)
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "main/binary-amd64"), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "main/binary-amd64/Packages"), nil, 0o644))
		release := "Origin: Debian\nSuite: " + suite + "\nCodename: " + suite + "\nDate: Sat, 01 Jan 2022 00:00:00 UTC\n" +
			"Components: main\nArchitectures: amd64\nSHA256:\n" +
			" e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 0 main/binary-amd64/Packages\n"
		require.NoError(t, os.WriteFile(filepath.Join(dir, "Release"), []byte(release), 0o644))
	}
	t.Setenv("MIRROR", "file:"+archive)
	err := a.update(t.Context())
	require.ErrorContains(t, err, "not signed")
	require.ErrorContains(t, err, "MIRROR=")
	assert.False(t, a.haveLists())
}

// TestAptConfigStaysPrivate asks apt itself what it makes of the configuration.
func TestAptConfigStaysPrivate(t *testing.T) {
	a := testApt(t)
	host := filepath.Join(t.TempDir(), "host.conf") // read before ours, as /etc/apt/apt.conf.d is
	require.NoError(t, os.WriteFile(host, []byte("APT::Update::Post-Invoke { \"false\"; };\n"+
		"APT::Get::AllowUnauthenticated \"true\";\nDir::State::lists \"/var/lib/apt/lists\";\n"), 0o644))
	t.Setenv("APT_CONFIG", host)
	out, err := run(t.Context(), "", "apt-config", "-c", filepath.Join(a.dir, "apt.conf"), "dump")
	require.NoError(t, err)
	for _, line := range []string{
		`Dir::State "` + a.dir + `/state";`,
		`Dir::State::status "` + a.dir + `/status";`,
		`Dir::State::lists "lists/";`,
		`Dir::Cache "` + a.dir + `/cache";`,
		`Dir::Etc::sourceparts "/dev/null";`,
		`APT::Architecture "amd64";`,
		`Acquire::AllowInsecureRepositories "false";`,
		`APT::Get::AllowUnauthenticated "false";`,
	} {
		assert.Contains(t, out, line+"\n")
	}
	assert.NotContains(t, out, "APT::Update::Post-Invoke::", "the host's hooks must not run")
}

func TestSourcesAreSigned(t *testing.T) {
	a := &apt{arch: "i386", keyring: "/k.gpg"}
	for line := range strings.Lines(a.sources("http://a.example/debian/")) {
		assert.Contains(t, line, "arch=i386")
		assert.Contains(t, line, "signed-by=/k.gpg] http://a.example/debian/ bookworm")
	}
}

func TestRunSaysWhatFailed(t *testing.T) {
	_, err := run(t.Context(), "", "sh", "-c", "echo reason >&2; exit 3")
	require.ErrorContains(t, err, "reason")
	require.ErrorContains(t, err, "exit status 3")
}
