// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin for QEMU's TCG that notes which lines of memory netfilter hooks load and store, and by
 * which instruction. bench/lines.go makes sense of it.
 *
 * The guest says what to watch by writing single bytes to one page at an address that nobody else
 * uses (BELL, and bench/guest/lines.go): the plugin sees the addresses of stores, not the bytes.
 *
 * A hook is at work from the first instruction of its function until the return address is read
 * that its caller put on the stack, with all that is called in between. One during which the CPU
 * entered the kernel anew, which is an interrupt, is counted and left out, and so is one whose end
 * was not seen.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Version 1 of QEMU's plugin interface, as far as it is used here: QEMU 6.0 to 8.2 and later ones
 * that still take it. Debian 12 ships no header.
 */
#define EXPORT __attribute__((visibility("default")))
typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_hwaddr;
enum { NO_REGS = 0 };
enum { LOADS_AND_STORES = 3 };
EXPORT int qemu_plugin_version = 1;
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t,
					   void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned int, void *),
					  int, void *);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *,
				      void (*)(unsigned int, qemu_plugin_meminfo_t, uint64_t, void *),
				      int, int, void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t);
struct qemu_plugin_hwaddr *qemu_plugin_get_hwaddr(qemu_plugin_meminfo_t, uint64_t);
uint64_t qemu_plugin_hwaddr_phys_addr(const struct qemu_plugin_hwaddr *);

#define BELL		0x500000000000ull	/* a store to + 256 * i + b: byte i is b */
#define BELL_NAME	(BELL + 8 * 256)	/* to + n: that was name n, or write */
#define BELL_END	(BELL + 4096)
#define LINE_SHIFT	6			/* bytes of a cache line, as a power of 2 */
#define CPUS		8
#define ONE_HOOK	4096			/* accesses, more than one hook does */
#define TABLE		(1u << 18)		/* different accesses of a CPU; a power of 2 */

enum name { HOOK, WAKE, ENTRY, ENTRY_END, NAMES, WRITE = NAMES };

struct access {
	uint64_t pc;
	uint64_t line;	/* physical */
	bool store;
	bool wakes;	/* in a hook that woke the writer */
	uint64_t count;
};

/* One CPU's: its thread is the only one to touch it. */
struct cpu {
	bool in_hook, wakes, interrupted;
	uint64_t last_store;		/* where to: the return address, when a hook begins */
	uint64_t return_slot;
	unsigned int n;
	struct access now[ONE_HOOK];	/* of this hook */
	struct access *all;
	uint64_t hooks, woke, left_out, lost;
};

static struct cpu cpus[CPUS];
static uint64_t names[NAMES];		/* by the guest, while no hook is at work */
static uint64_t bell;			/* what it is about to name */
static FILE *out;

/*
 * What the contender of number @section did, and begin anew: a line for each CPU that had hooks,
 * and one for each different access.
 */
static void write_out(uint64_t section)
{
	fprintf(out, "section %" PRIu64 "\n", section);
	for (int i = 0; i < CPUS; i++) {
		struct cpu *c = &cpus[i];

		c->left_out += c->in_hook;
		c->in_hook = false;
		if (c->hooks || c->left_out)
			fprintf(out, "cpu %d hooks %" PRIu64 " woke %" PRIu64 " left out %" PRIu64
				" lost %" PRIu64 "\n", i, c->hooks, c->woke, c->left_out, c->lost);
		for (unsigned int j = 0; j < TABLE; j++) {
			const struct access *a = &c->all[j];

			if (a->count)
				fprintf(out, "%s %d pc %#" PRIx64 " line %#" PRIx64 " wakes %d count %"
					PRIu64 "\n", a->store ? "store" : "load", i, a->pc, a->line,
					a->wakes, a->count);
		}
		memset(c->all, 0, TABLE * sizeof(*c->all));
		c->hooks = c->woke = c->left_out = c->lost = 0;
	}
	fputs("end\n", out);
	fflush(out);
	memset(names, 0, sizeof(names));
}

static void ring(uint64_t addr)
{
	unsigned int byte = (addr - BELL) / 256;

	if (addr < BELL_NAME) {
		bell &= ~(0xffull << (8 * byte));
		bell |= (addr & 0xff) << (8 * byte);
	} else if (addr - BELL_NAME == WRITE) {
		write_out(bell);
	} else if (addr - BELL_NAME < NAMES) {
		names[addr - BELL_NAME] = bell;
	}
}

/* Spread what differs in a few bits over all of them. */
static uint64_t mixed(uint64_t v)
{
	v = (v ^ v >> 31) * 0x7fb5d329728ea185;
	v = (v ^ v >> 27) * 0x81dadef4bc2dd44d;
	return v ^ v >> 33;
}

/* Add what a hook did to what its CPU's hooks did. */
static void keep(struct cpu *c, const struct access *a)
{
	uint64_t h = mixed(a->pc + mixed(a->line + mixed(2 * a->store + a->wakes)));

	for (unsigned int i = 0; i < 64; i++) {
		struct access *to = &c->all[(h + i) % TABLE];

		if (!to->count)
			*to = *a;
		else if (to->pc != a->pc || to->line != a->line || to->store != a->store ||
			 to->wakes != a->wakes)
			continue;
		to->count++;
		return;
	}
	c->lost++;
}

static void hook_ends(struct cpu *c)
{
	c->in_hook = false;
	if (c->interrupted) {
		c->left_out++;
		return;
	}
	c->hooks++;
	c->woke += c->wakes;
	for (unsigned int i = 0; i < c->n; i++) {
		c->now[i].wakes = c->wakes;
		keep(c, &c->now[i]);
	}
}

static void on_access(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t addr, void *pc)
{
	struct cpu *c = &cpus[cpu % CPUS];
	bool store = qemu_plugin_mem_is_store(info);
	struct qemu_plugin_hwaddr *hw;

	if (store) {
		c->last_store = addr;
		if (addr >= BELL && addr < BELL_END)
			ring(addr);
	}
	if (!c->in_hook)
		return;
	if (!store && addr == c->return_slot) {
		hook_ends(c);
		return;
	}
	hw = qemu_plugin_get_hwaddr(info, addr);
	if (!hw || c->n == ONE_HOOK) {
		c->interrupted = true;	/* no hook does that much by itself */
		return;
	}
	c->now[c->n++] = (struct access){
		.pc = (uint64_t)pc, .store = store,
		.line = qemu_plugin_hwaddr_phys_addr(hw) >> LINE_SHIFT,
	};
}

/* A function that is called begins a block, and so does what an interrupt leads to. */
static void on_block(unsigned int cpu, void *at)
{
	struct cpu *c = &cpus[cpu % CPUS];
	uint64_t addr = (uint64_t)at;

	if (addr == names[HOOK]) {
		/* an interrupt before its first instruction: what was stored last was something else */
		c->left_out += c->in_hook;
		c->in_hook = true;
		c->wakes = c->interrupted = false;
		c->return_slot = c->last_store;
		c->n = 0;
	} else if (c->in_hook) {
		c->wakes |= addr == names[WAKE];
		c->interrupted |= addr >= names[ENTRY] && addr < names[ENTRY_END];
	}
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, NO_REGS, (void *)qemu_plugin_tb_vaddr(tb));
	for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

		qemu_plugin_register_vcpu_mem_cb(insn, on_access, NO_REGS, LOADS_AND_STORES,
						 (void *)qemu_plugin_insn_vaddr(insn));
	}
}

/* -plugin watch.so,out=FILE */
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	if (argc != 1 || strncmp(argv[0], "out=", 4)) {
		fprintf(stderr, "watch: the one argument is out=FILE\n");
		return -1;
	}
	out = fopen(argv[0] + 4, "w");
	if (!out) {
		perror(argv[0] + 4);
		return -1;
	}
	for (int i = 0; i < CPUS; i++) {
		cpus[i].all = calloc(TABLE, sizeof(struct access));
		if (!cpus[i].all)
			return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	return 0;
}
