// SPDX-License-Identifier: GPL-2.0

package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// The suites that packages come from.
const (
	suiteStable    = "bookworm"
	suiteBackports = "bookworm-backports"
)

// indexFormat is what apt-get indextargets is asked for; mirrors parses it.
const indexFormat = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)|$(LABEL)|$(SIGNED_BY)"

// mirrors lists the Debian archives that the output of apt-get indextargets
// names, the likeliest first. The host may have other repositories with the
// same suite names, so a name alone is not proof; the signature is.
func mirrors(targets string) []string {
	type candidate struct {
		uri  string
		rank int
	}
	var found []candidate
	for line := range strings.Lines(targets) {
		f := strings.Split(strings.TrimSpace(line), "|")
		if len(f) != 6 {
			continue
		}
		uri, suite, component, origin, label, signedBy := f[0], f[1], f[2], f[3], f[4], f[5]
		if component != "main" || strings.HasSuffix(suite, "-security") || strings.HasPrefix(uri, "cdrom:") {
			continue
		}
		rank := 0
		switch {
		case origin == "Debian" && (label == "Debian" || label == "Debian Backports"):
			rank = 3
		case origin != "": // known, and not Debian's
			continue
		case strings.Contains(signedBy, "debian-archive"):
			rank = 2
		case strings.HasSuffix(strings.TrimRight(uri, "/"), "/debian"):
			rank = 1
		default:
			continue
		}
		if !slices.ContainsFunc(found, func(c candidate) bool { return c.uri == uri }) {
			found = append(found, candidate{uri, rank})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return b.rank - a.rank })
	uris := make([]string, len(found))
	for i, c := range found {
		uris[i] = c.uri
	}
	return uris
}

// pkg is a package in one version.
type pkg struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

func (p pkg) String() string { return p.Name + "=" + p.Version }

// packagesFromURIs parses the output of apt-get install --print-uris -qq:
// 'URI' NAME_VERSION_ARCH.deb SIZE HASH.
func packagesFromURIs(out string) ([]pkg, error) {
	var pkgs []pkg
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 3 || !strings.HasPrefix(f[0], "'") {
			continue // apt also says here why it picked a version
		}
		part := strings.Split(strings.TrimSuffix(f[1], ".deb"), "_")
		if len(part) != 3 {
			return nil, fmt.Errorf("apt named a package file %q, which is not NAME_VERSION_ARCH.deb", f[1])
		}
		version, err := url.PathUnescape(part[1]) // the colon of an epoch is %3a
		if err != nil {
			return nil, fmt.Errorf("package file %q: %w", f[1], err)
		}
		pkgs = append(pkgs, pkg{part[0], version})
	}
	return pkgs, nil
}

// apt runs the host's apt with the cache's own state.
type apt struct {
	dir     string // state, lists, configuration
	arch    string // whose packages it fetches, as Debian names it
	keyring string
	updated bool // the lists were fetched in this run
}

// apt returns the private apt for an architecture, set up but without lists.
func (c *Cache) apt(arch string) (*apt, error) {
	for _, tool := range []string{"apt-get", "dpkg-deb", "tar"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%s is needed to fetch Debian packages: install it (packages apt and dpkg), or use KERNEL=/path/bzImage KDIR=...: %w", tool, err)
		}
	}
	a := &apt{dir: c.path("apt", arch), arch: arch}
	for _, k := range []string{"debian-archive-keyring.gpg", "debian-archive-keyring.pgp"} {
		if name := filepath.Join("/usr/share/keyrings", k); exists(name) {
			a.keyring = name
			break
		}
	}
	if a.keyring == "" {
		return nil, errors.New("no Debian archive keyring: install the package debian-archive-keyring")
	}
	for _, d := range []string{"state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(a.dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	// An empty status file: dependencies are resolved as for an empty system.
	if err := writeFile(filepath.Join(a.dir, "status"), nil); err != nil {
		return nil, err
	}
	return a, writeFile(filepath.Join(a.dir, "apt.conf"), []byte(a.config()))
}

// config is read after the host's configuration: its proxies stay, what would
// touch the host's state or weaken the signature check goes.
func (a *apt) config() string {
	var b strings.Builder
	for _, key := range []string{
		"APT::Architectures", "APT::Default-Release", "APT::Update::Pre-Invoke", "APT::Update::Post-Invoke",
		"APT::Update::Post-Invoke-Success", "DPkg::Pre-Install-Pkgs", "DPkg::Post-Invoke",
	} {
		fmt.Fprintf(&b, "#clear %s;\n", key)
	}
	for _, kv := range [][2]string{
		{"APT::Architecture", a.arch},
		{"APT::Architectures::", a.arch},
		{"APT::Sandbox::User", "root"}, // the folders are ours alone, there is no other user to drop to
		{"APT::Get::AllowUnauthenticated", "false"},
		{"Acquire::AllowInsecureRepositories", "false"},
		{"Acquire::AllowWeakRepositories", "false"},
		{"Acquire::AllowDowngradeToInsecureRepositories", "false"},
		{"Acquire::Languages", "none"},
		{"Acquire::GzipIndexes", "true"},
		{"Acquire::Retries", "3"},
		{"Dir::State", filepath.Join(a.dir, "state")},
		{"Dir::State::lists", "lists/"},
		{"Dir::State::status", filepath.Join(a.dir, "status")},
		{"Dir::State::extended_states", filepath.Join(a.dir, "extended_states")},
		{"Dir::Cache", filepath.Join(a.dir, "cache")},
		{"Dir::Cache::archives", "archives/"},
		{"Dir::Etc::sourcelist", filepath.Join(a.dir, "sources.list")},
		{"Dir::Etc::sourceparts", "/dev/null"},
		{"Dir::Etc::preferences", "/dev/null"},
		{"Dir::Etc::preferencesparts", "/dev/null"},
	} {
		fmt.Fprintf(&b, "%s %q;\n", kv[0], kv[1])
	}
	return b.String()
}

// sources is the list of sources for an archive at uri.
func (a *apt) sources(uri string) string {
	var b strings.Builder
	for _, suite := range []string{suiteStable, suiteBackports} {
		fmt.Fprintf(&b, "deb [arch=%s target=Packages signed-by=%s] %s %s main\n", a.arch, a.keyring, uri, suite)
	}
	return b.String()
}

// update fetches the lists from $MIRROR, or from the first of the host's own
// mirrors that carries Debian's signature. It does so once a run.
func (a *apt) update(ctx context.Context) error {
	if a.updated {
		return nil
	}
	candidates := []string{os.Getenv("MIRROR")}
	if candidates[0] == "" {
		out, err := run(ctx, "", "apt-get", "indextargets", "--format", indexFormat)
		if err != nil {
			return fmt.Errorf("ask apt for this machine's mirrors: %w", err)
		}
		if candidates = mirrors(out); len(candidates) == 0 {
			return errors.New("this machine's apt knows no Debian mirror: set MIRROR= to one")
		}
	}
	var errs []error
	list := filepath.Join(a.dir, "sources.list")
	for _, uri := range candidates {
		if err := writeFile(list+".new", []byte(a.sources(uri))); err != nil {
			return err
		}
		_, err := a.get(ctx, "", "update", "-qq", "--error-on=any", "-o", "Dir::Etc::sourcelist="+list+".new")
		if err == nil {
			a.updated = true
			return os.Rename(list+".new", list)
		}
		errs = append(errs, fmt.Errorf("package lists of %s: %w", uri, err))
	}
	return fmt.Errorf("%w (set MIRROR= to use another Debian mirror)", errors.Join(errs...))
}

// haveLists says whether lists of an earlier update are there.
func (a *apt) haveLists() bool {
	lists, _ := filepath.Glob(filepath.Join(a.dir, "state/lists/*_Packages*"))
	return len(lists) >= 2 && exists(filepath.Join(a.dir, "sources.list"))
}

// closure lists the packages that names need, themselves included, as they are
// installed on an empty system when suite is preferred.
func (a *apt) closure(ctx context.Context, suite string, names ...string) ([]pkg, error) {
	if !a.haveLists() {
		if err := a.update(ctx); err != nil {
			return nil, err
		}
	}
	args := []string{"install", "--print-uris", "-qq", "-y", "--no-install-recommends", "-t", suite}
	out, err := a.get(ctx, "", append(args, names...)...)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", strings.Join(names, " "), err)
	}
	return packagesFromURIs(out)
}

// download fetches exactly these packages into dir. apt checks each against
// the signed lists.
func (a *apt) download(ctx context.Context, dir string, pkgs []pkg) error {
	args := []string{"download", "-qq"}
	for _, p := range pkgs {
		args = append(args, p.String())
	}
	if a.haveLists() {
		if _, err := a.get(ctx, dir, args...); err == nil || ctx.Err() != nil {
			return err
		}
	}
	// Lists of last month name files that the mirror has dropped since.
	if err := a.update(ctx); err != nil {
		return err
	}
	if _, err := a.get(ctx, dir, args...); err != nil {
		return fmt.Errorf("%w\nthe mirror may have moved on to newer packages: `make fetch UPDATE=1` takes those", err)
	}
	return nil
}

func (a *apt) get(ctx context.Context, dir string, args ...string) (string, error) {
	return run(ctx, dir, "apt-get", append([]string{"-c", filepath.Join(a.dir, "apt.conf")}, args...)...)
}

// unpack extracts a package's files below dir, as dpkg -x does.
func unpack(ctx context.Context, deb, dir string) error {
	_, err := run(ctx, "", "dpkg-deb", "-x", deb, dir)
	return err
}

// run executes a command in dir and returns its standard output; the error has
// the last lines of what it complained about.
func run(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	// Messages are parsed and shown: keep them in one language.
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args[:min(3, len(cmd.Args))], " "), err, tail(stderr.String(), 8))
	}
	return stdout.String(), nil
}

// tail returns the last n lines of s.
func tail(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
