/* ptx LIBRARY SOURCES OUT [CAPABILITY...] compiles every .cu of the folder SOURCES to PTX in the folder OUT by the
 * NVRTC library LIBRARY (libnvrtc.so of any CUDA), which needs neither a GPU nor a host compiler.
 *
 * Without CAPABILITY each NAME.cu becomes NAME_70.ptx, and NAME_80.ptx beside it when one of its first ten lines is
 * "// ptx: 80" (any number of capabilities may follow). With CAPABILITY each becomes one file for each of them.
 * Any diagnostic, warnings too, ends in exit status 1. The PTX holds no path, date or line number: the same library
 * makes the same bytes everywhere, at the same addresses (setarch -R). */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <unistd.h>

enum { max_files = 256, first_lines = 10 };

typedef void *program;
static const char *(*error_string)(int);
static int (*version)(int *, int *);
static int (*create)(program *, const char *, const char *, int, const char *const *, const char *const *);
static int (*destroy)(program *);
static int (*compile)(program, int, const char *const *);
static int (*log_size)(program, size_t *), (*get_log)(program, char *);
static int (*ptx_size)(program, size_t *), (*get_ptx)(program, char *);

static char *headers[max_files], *header_names[max_files], *sources[max_files], *source_names[max_files];
static int header_count, source_count;

static void die(const char *what, const char *why) {
	fprintf(stderr, "ptx: %s: %s\n", what, why);
	exit(2);
}

static char *read_file(const char *path) {
	FILE *f = fopen(path, "rb");
	if (!f) die(path, "cannot be read");
	char *text = NULL;
	size_t size = 0, capacity = 0, n;
	do {
		if (!(text = realloc(text, capacity += 1 << 16))) die(path, "out of memory");
		n = fread(text + size, 1, capacity - size - 1, f);
		size += n;
	} while (n);
	fclose(f);
	text[size] = 0;
	return text;
}

/* open_library opens NVRTC and, before it, its builtins from beside it: no LD_LIBRARY_PATH is needed. */
static void open_library(const char *path) {
	char folder[4096];
	snprintf(folder, sizeof folder, "%s", path);
	char *slash = strrchr(folder, '/');
	if (slash) {
		*slash = 0;
		DIR *d = opendir(folder);
		for (struct dirent *e; d && (e = readdir(d));) {
			char file[8192];
			snprintf(file, sizeof file, "%s/%s", folder, e->d_name);
			if (!strncmp(e->d_name, "libnvrtc-builtins.so", 20)) dlopen(file, RTLD_NOW | RTLD_GLOBAL);
		}
		if (d) closedir(d);
	}
	void *h = dlopen(path, RTLD_NOW);
	if (!h) die(path, dlerror());
	struct { const char *name; void *to; } entries[] = {
		{"nvrtcGetErrorString", &error_string}, {"nvrtcVersion", &version}, {"nvrtcCreateProgram", &create},
		{"nvrtcDestroyProgram", &destroy}, {"nvrtcCompileProgram", &compile}, {"nvrtcGetProgramLogSize", &log_size},
		{"nvrtcGetProgramLog", &get_log}, {"nvrtcGetPTXSize", &ptx_size}, {"nvrtcGetPTX", &get_ptx},
	};
	for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
		void *p = dlsym(h, entries[i].name);
		if (!p) die(path, dlerror());
		memcpy(entries[i].to, &p, sizeof p);
	}
}

static int has_ending(const char *name, const char *ending) {
	size_t n = strlen(name), m = strlen(ending);
	return n > m && !strcmp(name + n - m, ending);
}

static void read_sources(const char *folder) {
	struct dirent **list;
	int n = scandir(folder, &list, NULL, alphasort);
	if (n < 0) die(folder, "cannot be read");
	for (int i = 0; i < n; i++) {
		const char *name = list[i]->d_name;
		int header = has_ending(name, ".cuh");
		if (!header && !has_ending(name, ".cu")) continue;
		if (header_count == max_files || source_count == max_files) die(folder, "too many files");
		char path[8192];
		snprintf(path, sizeof path, "%s/%s", folder, name);
		if (header) header_names[header_count] = strdup(name), headers[header_count++] = read_file(path);
		else source_names[source_count] = strdup(name), sources[source_count++] = read_file(path);
	}
}

/* wanted says whether one of the first lines is "// ptx: ..." with the capability in it. */
static int wanted(const char *text, int capability) {
	for (int line = 0; line < first_lines && text; line++) {
		if (!strncmp(text, "// ptx:", 7)) {
			char *p = (char *)text + 7;
			for (;;) {
				char *end;
				long c = strtol(p, &end, 10);
				if (end == p) return 0;
				if (c == capability) return 1;
				p = end;
			}
		}
		if ((text = strchr(text, '\n'))) text++;
	}
	return 0;
}

/* is_said_of_target is whether the log is only NVRTC 12's notice that a later CUDA will not know this target. */
static int is_said_of_target(const char *log) {
	const char *end = strchr(log, '\n');
	return !strncmp(log, "nvrtc: warning: Architectures prior to", 38) && (!end || !end[1]);
}

/* compile_one writes SOURCE's PTX for the capability and returns how many failures there were, 0 or 1. */
static int compile_one(int i, int capability, const char *out) {
	char arch[64], path[8192];
	snprintf(arch, sizeof arch, "--gpu-architecture=compute_%d", capability);
	const char *options[] = {arch, "--std=c++17", "-default-device"}; /* lambdas are device code */
	program p;
	int status = create(&p, sources[i], source_names[i], header_count, (const char *const *)headers,
		(const char *const *)header_names);
	if (status) die("nvrtcCreateProgram", error_string(status));
	status = compile(p, sizeof options / sizeof *options, options);
	size_t size = 0;
	log_size(p, &size);
	char *text = calloc(1, size + 1);
	get_log(p, text);
	if (status || (size > 1 && !is_said_of_target(text))) {
		fprintf(stderr, "%s: compute_%d: %s\n%s", source_names[i], capability, status ? error_string(status) : "warnings", text);
		free(text);
		destroy(&p);
		return 1;
	}
	free(text);
	ptx_size(p, &size);
	text = calloc(1, size + 1);
	get_ptx(p, text);
	snprintf(path, sizeof path, "%s/%.*s_%d.ptx", out, (int)strlen(source_names[i]) - 3, source_names[i], capability);
	FILE *f = fopen(path, "wb");
	if (!f || fwrite(text, 1, strlen(text), f) != strlen(text) || fclose(f)) die(path, "cannot be written");
	free(text);
	destroy(&p);
	return 0;
}

int main(int argc, char **argv) {
	static const int extra[] = {75, 80, 86, 89, 90};
	if (argc < 4) {
		fprintf(stderr, "usage: ptx LIBRARY SOURCES OUT [CAPABILITY...]\n");
		return 2;
	}
	/* NVRTC 11.8 orders some of its work by address: the same addresses each time make the same PTX each time. */
	int persona = personality(0xffffffff);
	if (persona != -1 && !(persona & ADDR_NO_RANDOMIZE) && personality(persona | ADDR_NO_RANDOMIZE) != -1)
		execv("/proc/self/exe", argv);
	open_library(argv[1]);
	read_sources(argv[2]);
	int failures = 0, made = 0, major = 0, minor = 0;
	for (int i = 0; i < source_count; i++) {
		if (argc > 4) {
			for (int a = 4; a < argc; a++) failures += compile_one(i, atoi(argv[a]), argv[3]), made++;
			continue;
		}
		failures += compile_one(i, 70, argv[3]), made++;
		for (size_t a = 0; a < sizeof extra / sizeof *extra; a++)
			if (wanted(sources[i], extra[a])) failures += compile_one(i, extra[a], argv[3]), made++;
	}
	version(&major, &minor);
	printf("NVRTC %d.%d: %d sources, %d files of PTX, %d failures\n", major, minor, source_count, made, failures);
	return failures != 0;
}
