// SPDX-License-Identifier: GPL-2.0-only
/*
 * remapctl: set up, start, watch and mend dm-remap devices. This file takes the command line
 * apart and finds the command; what the commands do is in cmd_*.c.
 */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "remapctl.h"

#ifndef DM_REMAP_VERSION
#define DM_REMAP_VERSION "unknown"
#endif

const char *argp_program_version = "remapctl " DM_REMAP_VERSION;

enum {
	OPT_DATA	= 1 << 0,
	OPT_SPARE	= 1 << 1,
	OPT_BLOCK_SIZE	= 1 << 2,
	OPT_LABEL	= 1 << 3,
	OPT_OPTION	= 1 << 4,
	OPT_FORCE	= 1 << 5,
	OPT_SEARCH	= 1 << 6,
	OPT_JSON	= 1 << 7,
	OPT_NEW_IDENTITY = 1 << 8,
	OPT_BADBLOCKS	= 1 << 9,
	OPT_DDRESCUE	= 1 << 10,
	OPT_LIST_BLOCK	= 1 << 11,
	OPT_DRY_RUN	= 1 << 12,
	OPT_TABLE	= 1 << 13,
	OPT_BLOCKS	= 1 << 14,
	OPT_OUTPUT	= 1 << 15,
};

/* Options without a letter: those that are not for every day. */
enum { KEY_NEW_IDENTITY = 256, KEY_BADBLOCKS, KEY_DDRESCUE, KEY_LIST_BLOCK, KEY_TABLE,
       KEY_BLOCKS };

static const struct {
	unsigned int bit;
	struct argp_option o;
} known[] = {
	{ OPT_DATA, { "data", 'd', "DEV", 0, "The disk to be protected; its contents stay", 0 } },
	{ OPT_SPARE, { "spare", 's', "DEV", 0, "The device that takes the place of bad "
	"blocks", 0 } },
	{ OPT_BLOCK_SIZE, { "block-size", 'b', "BYTES", 0,
		"Unit of remapping, a power of two from 512 to 16K (default: 4K, or the physical "
		"block size of the data device if that is larger)", 0 } },
	{ OPT_LABEL, { "label", 'L', "LABEL", 0, "Name to know the spare by, up to 31 bytes", 0 } },
	{ OPT_OPTION, { "option", 'o', "KEY=VALUE", 0,
		"Option for the kernel: verify=0|1, on_read_error=relocate|pass, burst=N, "
		"window=SECONDS, force=0|1, spare_size=SECTORS; may be given several times", 0 } },
	{ OPT_FORCE, { "force", 'f', NULL, 0, "Go on where something was found on the "
	"device", 0 } },
	{ OPT_SEARCH, { "search", 'S', NULL, 0,
		"Search the whole device for metadata (slow; for a device whose size has "
		"changed)", 0 } },
	{ OPT_NEW_IDENTITY, { "new-identity", KEY_NEW_IDENTITY, NULL, 0,
		"The disk given by --data is the one that the spare was formatted for, though "
		"another adapter or enclosure calls it otherwise: record what it is called "
		"now", 0 } },
	{ OPT_BADBLOCKS, { "badblocks", KEY_BADBLOCKS, "FILE", 0,
		"A list of badblocks(8); - is standard input", 0 } },
	{ OPT_LIST_BLOCK, { "list-block-size", KEY_LIST_BLOCK, "BYTES", 0,
		"Of the blocks in that list: what badblocks was given with -b (default: "
		"1024)", 0 } },
	{ OPT_DDRESCUE, { "ddrescue", KEY_DDRESCUE, "MAPFILE", 0,
		"A mapfile of GNU ddrescue, of which the bad sectors (-) are taken", 0 } },
	{ OPT_TABLE, { "table", KEY_TABLE, "FILE", 0,
		"What export has written, for a spare whose metadata is destroyed; - is standard "
		"input", 0 } },
	{ OPT_BLOCKS, { "blocks", KEY_BLOCKS, NULL, 0,
		"Also say which blocks of the metadata are not ok", 0 } },
	{ OPT_OUTPUT, { "output", 'o', "FILE", 0,
		"Where the page goes; what is there is replaced; - is standard output", 0 } },
	{ OPT_DRY_RUN, { "dry-run", 'n', NULL, 0, "Only say what would be done", 0 } },
	{ OPT_JSON, { "json", 'j', NULL, 0, "Print JSON", 0 } },
};

#define OPTIONS (sizeof(known) / sizeof(known[0]))
#define ANY 0xffffU

static const struct command {
	const char *name;
	command_fn *run;
	unsigned int options;		/* that it takes, --json aside */
	unsigned int required;
	unsigned int min_pos, max_pos;
	const char *args;
	const char *doc;
} commands[] = {
	{ "format", cmd_format, OPT_DATA | OPT_SPARE | OPT_BLOCK_SIZE | OPT_LABEL | OPT_FORCE,
	  OPT_DATA | OPT_SPARE, 0, 0, "--data DEV --spare DEV",
	  "Make a device the spare of a disk. The disk is not written to." },
	{ "start", cmd_start, OPT_DATA | OPT_SPARE | OPT_OPTION | OPT_FORCE | OPT_NEW_IDENTITY,
	  OPT_SPARE, 1, 1,
	  "NAME --spare DEV",
	  "Start the device NAME. Its disk is found by what format has recorded." },
	{ "create", cmd_create, OPT_DATA | OPT_SPARE | OPT_BLOCK_SIZE | OPT_LABEL | OPT_OPTION |
	  OPT_FORCE, OPT_DATA | OPT_SPARE, 1, 1, "NAME --data DEV --spare DEV",
	  "Format a spare, then start the device NAME." },
	{ "stop", cmd_stop, 0, 0, 1, 1, "NAME", "Stop a device." },
	{ "status", cmd_status, 0, 0, 0, 1, "[NAME]", "Show how all devices are, or one." },
	{ "list", cmd_list, 0, 0, 1, 1, "NAME", "List the remapped blocks." },
	{ "map", cmd_map, 0, 0, 1, 1, "NAME",
	  "Draw the surface of a device: where blocks are remapped and sectors lost." },
	{ "report", cmd_report, OPT_OUTPUT, 0, 1, 1, "NAME --output FILE.html\nNAME --json",
	  "Write a page that says what is wrong with a device, where, and whether it gets worse." },
	{ "remap", cmd_remap, 0, 0, 2, ANY, "NAME SECTOR[+COUNT]...",
	  "Move the blocks that these sectors (of 512 bytes) touch to the spare." },
	{ "unmap", cmd_unmap, 0, 0, 2, ANY, "NAME SECTOR[+COUNT]...",
	  "Move the blocks that these sectors (of 512 bytes) touch back to the disk." },
	{ "import", cmd_import,
	  OPT_BADBLOCKS | OPT_DDRESCUE | OPT_LIST_BLOCK | OPT_DRY_RUN | OPT_TABLE | OPT_SPARE |
	  OPT_FORCE, 0, 0, 1,
	  "NAME --badblocks FILE\nNAME --ddrescue MAPFILE\n--spare DEV --table FILE",
	  "Move the blocks that another program has found to be bad to the spare. Or restore the "
	  "metadata of a spare from what export has saved." },
	{ "export", cmd_export, OPT_SPARE | OPT_SEARCH, 0, 0, 1, "NAME\n--spare DEV",
	  "Write the table of a spare to standard output, as text that import takes." },
	{ "verify", cmd_verify, OPT_SPARE | OPT_SEARCH | OPT_BLOCKS, 0, 0, 1, "NAME\n--spare DEV",
	  "Check the five replicas of the metadata." },
	{ "repair", cmd_repair, OPT_SPARE | OPT_SEARCH, 0, 0, 1, "NAME\n--spare DEV",
	  "Rewrite replicas that are not as they should be." },
	{ "dump", cmd_dump, OPT_SPARE | OPT_SEARCH, OPT_SPARE, 0, 0, "--spare DEV",
	  "Show all that is recorded on a spare." },
	{ "scan", cmd_scan, OPT_SEARCH, 0, 0, 0, "", "Find the spares of this machine." },
	{ "grow", cmd_grow, 0, 0, 1, 1, "NAME",
	  "Use the room of a spare whose device has become larger." },
	{ "reset", cmd_reset, 0, 0, 1, 1, "NAME",
	  "Let a device that has stopped remapping (paused, failed) go on." },
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

struct parse {
	const struct command *command;
	struct args args;
	unsigned int given;
};

/* The same letter may stand for one thing with one command and for another with the next. */
static unsigned int bit_of(const struct command *c, int key)
{
	for (size_t i = 0; i < OPTIONS; i++)
		if (known[i].o.key == key && ((c->options | OPT_JSON) & known[i].bit))
			return known[i].bit;
	return 0;
}

static const char *name_of(unsigned int bit)
{
	for (size_t i = 0; i < OPTIONS; i++)
		if (known[i].bit == bit)
			return known[i].o.name;
	return "";
}

static void take_value(struct parse *p, unsigned int bit, const char *value)
{
	struct args *a = &p->args;

	switch (bit) {
	case OPT_DATA:
		a->data = value;
		break;
	case OPT_SPARE:
		a->spare = value;
		break;
	case OPT_BLOCK_SIZE:
		a->block_size = value;
		break;
	case OPT_LABEL:
		a->label = value;
		break;
	case OPT_OPTION:
		a->option[a->options++] = value;
		break;
	case OPT_FORCE:
		a->force = true;
		break;
	case OPT_SEARCH:
		a->search = true;
		break;
	case OPT_NEW_IDENTITY:
		a->new_identity = true;
		break;
	case OPT_BADBLOCKS:
		a->badblocks = value;
		break;
	case OPT_DDRESCUE:
		a->ddrescue = value;
		break;
	case OPT_LIST_BLOCK:
		a->list_block = value;
		break;
	case OPT_DRY_RUN:
		a->dry_run = true;
		break;
	case OPT_TABLE:
		a->table = value;
		break;
	case OPT_BLOCKS:
		a->blocks = true;
		break;
	case OPT_OUTPUT:
		a->output = value;
		break;
	case OPT_JSON:
		a->json = true;
		break;
	}
}

static error_t parse_key(int key, char *value, struct argp_state *state)
{
	struct parse *p = state->input;
	unsigned int bit = bit_of(p->command, key);

	if (bit) {
		if (p->given & bit & ~(unsigned int)OPT_OPTION)
			exit(usage_error(&p->args, "--%s given twice", name_of(bit)));
		if (value && !*value && bit != OPT_LABEL)
			exit(usage_error(&p->args, "--%s: empty", name_of(bit)));
		p->given |= bit;
		take_value(p, bit, value);
		return 0;
	}
	if (key != ARGP_KEY_ARG)
		return ARGP_ERR_UNKNOWN;
	if (p->args.positions == p->command->max_pos)
		exit(usage_error(&p->args, "%s: %s", value, p->command->max_pos ?
				 "one argument too many" : "this command takes no arguments"));
	p->args.pos[p->args.positions++] = value;
	return 0;
}

static void check(struct parse *p)
{
	unsigned int missing = p->command->required & ~p->given;

	if (p->args.positions < p->command->min_pos)
		exit(usage_error(&p->args, "%s is missing", p->args.positions ? "SECTOR" : "NAME"));
	if (missing)
		exit(usage_error(&p->args, "--%s is missing", name_of(missing & -missing)));
	if ((p->given & OPT_NEW_IDENTITY) && !(p->given & OPT_DATA))
		exit(usage_error(&p->args, "--new-identity: of which disk? --data is missing"));
}

/* What argp has of its own, as far as others can be taken for the beginning of it. */
static const struct argp_option argp_own[] = {
	{ .name = "help", .key = '?' }, { .name = "usage", .key = KEY_BLOCKS + 1 },
	{ .name = "version", .key = 'V' }, { .name = NULL },
};

/* As getopt_long() has it: the whole name, or so much of it that no other begins like that. */
static const struct argp_option *long_option(const struct argp_option *const lists[2],
					     const char *name, size_t len, unsigned int *fit)
{
	const struct argp_option *found = NULL;

	*fit = 0;
	for (size_t l = 0; l < 2; l++) {
		for (const struct argp_option *o = lists[l]; o->name; o++) {
			if (strncmp(o->name, name, len))
				continue;
			found = o;
			++*fit;
			if (!o->name[len]) {
				*fit = 1;
				return o;
			}
		}
	}
	return found;
}

static const struct argp_option *short_option(const struct argp_option *const lists[2], char letter)
{
	for (size_t l = 0; l < 2; l++)
		for (const struct argp_option *o = lists[l]; o->name; o++)
			if (o->key == letter)
				return o;
	return NULL;
}

/* argp does not tell which word it did not like, and what about it: look at them as it has done. */
static const char *wrong_word(const struct argp_option *options, int argc, char **argv,
			      const char **word)
{
	const struct argp_option *const lists[] = { options, argp_own };

	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) {
		const struct argp_option *o;
		unsigned int fit;
		const char *end;

		*word = argv[i];
		if (argv[i][0] != '-' || !argv[i][1])
			continue;
		if (argv[i][1] == '-') {
			end = argv[i] + strcspn(argv[i], "=");
			o = long_option(lists, argv[i] + 2, (size_t)(end - argv[i] - 2), &fit);
			if (!o)
				return "unknown option";
			if (fit > 1)
				return "several options begin like that";
			if (*end && !o->arg)
				return "takes no value";
			if (!*end && o->arg && ++i == argc)
				return "its value is missing";
			continue;
		}
		for (end = argv[i] + 1; *end; end++) {
			o = short_option(lists, *end);
			if (!o)
				return "unknown option";
			if (o->arg)	/* the rest of the word, or the next one */
				break;
		}
		if (*end && !end[1] && ++i == argc)
			return "its value is missing";
	}
	*word = argv[argc - 1];
	return "unknown option, or its value is missing";
}

static bool asks_for_help(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "--usage") ||
		    !strcmp(argv[i], "-?") || !strcmp(argv[i], "--version") ||
		    !strcmp(argv[i], "-V"))
			return true;
	return false;
}

static int run(const struct command *c, int argc, char **argv)
{
	struct argp_option options[OPTIONS + 1] = { { 0 } };
	struct parse p = { .command = c };
	struct argp argp = {
		.options = options, .parser = parse_key, .args_doc = c->args, .doc = c->doc,
	};
	const char *word, *why;
	char name[64];
	size_t n = 0;
	int status;

	for (size_t i = 0; i < OPTIONS; i++)
		if ((c->options | OPT_JSON) & known[i].bit)
			options[n++] = known[i].o;
	/* argp calls the program what its first argument says */
	snprintf(name, sizeof(name), "remapctl %s", c->name);
	argv[0] = name;
	p.args.command = c->name;
	p.args.option = calloc((size_t)argc, sizeof(*p.args.option));
	p.args.pos = calloc((size_t)argc, sizeof(*p.args.pos));
	if (!p.args.option || !p.args.pos)
		return problem("out of memory");
	/* errors in our own words, one line each; the flag for that mutes argp's help, too */
	if (argp_parse(&argp, argc, argv, asks_for_help(argc, argv) ? 0 : ARGP_NO_ERRS, NULL, &p)) {
		why = wrong_word(options, argc, argv, &word);
		return usage_error(&p.args, "%s: %s", word, why);
	}
	check(&p);
	status = c->run(&p.args);
	free(p.args.option);
	free(p.args.pos);
	return status;
}

static void help(void)
{
	puts("Usage: remapctl COMMAND [ARGUMENT...]\n"
	     "Set up, start, watch and mend dm-remap devices: disks whose bad blocks are moved\n"
	     "to a spare device.\n");
	for (size_t i = 0; i < COMMANDS; i++) {
		char args[128];

		snprintf(args, sizeof(args), "%s", commands[i].args);
		for (char *p = args; *p; p++)
			if (*p == '\n')
				*p = '|';	/* argp wants alternatives on lines of their own */
		printf("  %s %s\n      %s\n", commands[i].name, args, commands[i].doc);
	}
	puts("\n"
	     "  remapctl COMMAND --help   What a command takes\n"
	     "  remapctl --version        Print the version\n\n"
	     "All commands take --json. Exit status: 0 good, 1 a problem was found or the\n"
	     "command failed, 2 wrong usage.");
}

/* What did not get out must not look like success: argp, too, ends the program after its help. */
static void check_output(void)
{
	if (fflush(stdout) || ferror(stdout))
		_exit(problem("cannot write the output"));
}

int main(int argc, char **argv)
{
	int status = EXIT_GOOD;
	const char *word = argc > 1 ? argv[1] : NULL;
	size_t i;

	if (atexit(check_output))
		return problem("out of memory");
	argp_err_exit_status = EXIT_USAGE;
	if (!word)
		return usage_error(NULL, "a command is missing");
	if (!strcmp(word, "--help") || !strcmp(word, "-?") || !strcmp(word, "-h")) {
		help();
	} else if (!strcmp(word, "--version") || !strcmp(word, "-V")) {
		puts(argp_program_version);
	} else {
		for (i = 0; i < COMMANDS && strcmp(commands[i].name, word); i++)
			;
		if (i == COMMANDS)
			return usage_error(NULL, "%s: no such %s", word,
					   *word == '-' ? "option" : "command");
		status = run(&commands[i], argc - 1, argv + 1);
	}
	return status;
}
