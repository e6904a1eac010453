/* A stub of NVIDIA's driver library for tests: device memory is memory of the host, what was asked
 * is counted and recorded, and any call can be made to fail.
 *
 * Work on the stream is put off, as a device would, until something waits for it. A kernel does
 * nothing but be recorded, unless a test gives a function to run in its place. Names and types are
 * those of the CUDA driver API; `cubin` here is the text of the PTX, which tells how large a
 * kernel's parameters are.
 */

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100,
    INVALID_DEVICE = 101, INVALID_IMAGE = 200, INVALID_CONTEXT = 201, INVALID_PTX = 218,
    INVALID_HANDLE = 400, NOT_FOUND = 500
};
enum { NOTHING, STARTED, CONTEXT };            /* what a call needs */
enum { PARAMETERS = 2, LIMIT = 1 << 12, EDGES = 16 };   /* LIMIT: bytes of a parameter */

typedef struct {
    char name[128];
    unsigned grid[3], block[3];
    int graph;                                 /* 1: launched as part of one, which */
    int waits, before[EDGES];                  /* gives the nodes it waits for, from 0 on */
    size_t sizes[PARAMETERS];
    unsigned char values[PARAMETERS][LIMIT];
} Record;

typedef struct Task Task;
struct Task {                                  /* something that the stream has still to do */
    enum { COPY, FILL, KERNEL, EVENT } kind;
    Task *next;
    unsigned char *target;
    const unsigned char *source;
    size_t count, width;
    unsigned value;
    Record record;
    struct Event *event;
};

typedef struct Event { int done; double time; } Event;
typedef struct Block { unsigned char *start; size_t size; int host; struct Block *next; } Block;
typedef struct { char *image; } Module;
typedef struct { char name[128]; size_t sizes[PARAMETERS]; } Function;
typedef struct { char *ptx, *log; size_t log_size; } Link;
typedef struct { int count; Record *nodes; } Graph;
typedef struct { Graph *from; int count; Record *nodes; } Executable;
typedef struct {
    void *function;
    unsigned grid[3], block[3], shared_bytes;
    void **parameters, **extra;
    void *kern, *context;
} KernelNode;

typedef struct { char name[64]; long calls; int status; long after; } Entry;

static pthread_mutex_t mutex;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static Entry entries[128];
static Block *blocks;
static size_t held;
static Task *first, *last;
static Record *records;
static long recorded;
static void (*on_launch)(const Record *);
static double now;                             /* milliseconds: one a kernel */
static pid_t started;
static int retained;
static _Thread_local void *current;

static struct { int devices, major, minor, version; size_t memory; } machine = {
    1, 9, 0, 13000, (size_t)1 << 30
};

/* ---- the test's side */

static Entry *entry(const char *name)
{
    for (Entry *e = entries; e < entries + 128; e++) {
        if (!e->name[0]) snprintf(e->name, sizeof e->name, "%s", name);
        if (!strcmp(e->name, name)) return e;
    }
    abort();
}

static void begin(void)
{
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&mutex, &kind);
    const char *text = getenv("FAKECUDA_FAIL");     /* name=status,name=status */
    while (text && *text) {
        char name[64];
        int status, used = 0;
        if (sscanf(text, "%63[^=]=%d%n", name, &status, &used) < 2) break;
        entry(name)->status = status;
        text += used + (text[used] == ',');
    }
    if ((text = getenv("FAKECUDA_MACHINE")))        /* devices,major,minor,version,memory */
        sscanf(text, "%d,%d,%d,%d,%zu", &machine.devices, &machine.major, &machine.minor,
               &machine.version, &machine.memory);
}

static int enter(const char *name, int needs)
{
    pthread_once(&once, begin);
    pthread_mutex_lock(&mutex);
    Entry *e = entry(name);
    e->calls++;
    if (e->status && e->after-- <= 0) return e->status;
    if (needs >= STARTED && started != getpid()) return NOT_INITIALIZED;
    if (needs >= CONTEXT && (!current || !retained)) return INVALID_CONTEXT;
    return 0;
}

static void lock(void)
{
    pthread_once(&once, begin);
    pthread_mutex_lock(&mutex);
}

#define API(name, needs, parameters, arguments)                 \
    static int do_##name parameters;                            \
    int name parameters                                         \
    {                                                           \
        int result_ = enter(#name, needs);                      \
        if (!result_) result_ = do_##name arguments;            \
        pthread_mutex_unlock(&mutex);                           \
        return result_;                                         \
    }                                                           \
    static int do_##name parameters

void fake_machine(int devices, int major, int minor, int version, size_t memory)
{
    lock();
    machine.devices = devices, machine.major = major, machine.minor = minor;
    machine.version = version, machine.memory = memory;
    pthread_mutex_unlock(&mutex);
}

/* Calls of `name` give `status` after `after` more calls; 0 ends it. */
void fake_fail(const char *name, int status, long after)
{
    lock();
    entry(name)->status = status, entry(name)->after = after;
    pthread_mutex_unlock(&mutex);
}

long fake_calls(const char *name)
{
    lock();
    long calls = entry(name)->calls;
    pthread_mutex_unlock(&mutex);
    return calls;
}

void fake_on_launch(void (*function)(const Record *)) { on_launch = function; }
long fake_recorded(void) { return recorded; }
const Record *fake_record(long k) { return records + k; }
size_t fake_held(void) { return held; }
int fake_retained(void) { return retained; }

long fake_waiting(void)
{
    long count = 0;
    lock();
    for (Task *task = first; task; task = task->next) count++;
    pthread_mutex_unlock(&mutex);
    return count;
}

/* ---- memory */

static Block *within(const void *address, size_t size, int host)
{
    const unsigned char *p = address;
    for (Block *b = blocks; b; b = b->next)
        if (b->host == host && p >= b->start && p - b->start + size <= b->size) return b;
    return NULL;
}

static void *allocate(size_t size, int host)
{
    Block *b = malloc(sizeof *b);
    if (!b || posix_memalign((void **)&b->start, 256, size)) abort();
    memset(b->start, 0xFF, size);                   /* NaN in every float */
    b->size = size, b->host = host, b->next = blocks, blocks = b;
    if (!host) held += size;
    return b->start;
}

static int release(void *address, int host)
{
    for (Block **at = &blocks; *at; at = &(*at)->next)
        if ((*at)->start == address && (*at)->host == host) {
            Block *b = *at;
            *at = b->next;
            if (!host) held -= b->size;
            free(b->start), free(b);
            return 0;
        }
    return INVALID_VALUE;
}

/* The blocks of device memory: how many there are, and the first `room` of them. */
int fake_blocks(int room, uint64_t *starts, uint64_t *sizes)
{
    int count = 0;
    lock();
    for (Block *b = blocks; b; b = b->next) {
        if (b->host) continue;
        if (count < room) starts[count] = (uintptr_t)b->start, sizes[count] = b->size;
        count++;
    }
    pthread_mutex_unlock(&mutex);
    return count;
}

/* ---- the stream */

static Task *put(int kind)
{
    Task *task = calloc(1, sizeof *task);
    if (!task) abort();
    task->kind = kind;
    if (last) last->next = task; else first = task;
    return last = task;
}

static void run(Task *task)
{
    if (task->kind == COPY) {
        memcpy(task->target, task->source, task->count);
    } else if (task->kind == FILL) {
        for (size_t k = 0; k < task->count; k++)
            memcpy(task->target + k * task->width, &task->value, task->width);
    } else if (task->kind == KERNEL) {
        records = realloc(records, (recorded + 1) * sizeof *records);
        if (!records) abort();
        records[recorded++] = task->record;
        now += 1;
        if (on_launch) on_launch(&task->record);
    } else {
        task->event->done = 1, task->event->time = now;
    }
}

/* Do all, or what comes before `event` is recorded. */
static void drain(Event *event)
{
    while (first && !(event && event->done)) {
        Task *task = first;
        first = task->next;
        if (!first) last = NULL;
        run(task);
        free(task);
    }
}

void fake_drain(void)
{
    lock();
    drain(NULL);
    pthread_mutex_unlock(&mutex);
}

/* ---- starting, devices, contexts */

static int hidden(void)
{
    const char *list = getenv("CUDA_VISIBLE_DEVICES");
    return list && (!*list || *list == '-');
}

API(cuInit, NOTHING, (unsigned flags), (flags))
{
    if (!machine.devices || hidden()) return NO_DEVICE;
    started = getpid();
    return flags ? INVALID_VALUE : 0;
}

API(cuDriverGetVersion, NOTHING, (int *version), (version))
{
    *version = machine.version;
    return 0;
}

static const struct { int status; const char *name, *text; } texts[] = {
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {200, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {209, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution"},
    {218, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the PTX has an unsupported version"},
    {400, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "driver and kernel module do not match"},
};

static int text_of(int status, const char **name, const char **text)
{
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++)
        if (texts[k].status == status) {
            if (name) *name = texts[k].name;
            if (text) *text = texts[k].text;
            return 0;
        }
    return INVALID_VALUE;
}

API(cuGetErrorName, NOTHING, (int status, const char **name), (status, name))
{
    return text_of(status, name, NULL);
}

API(cuGetErrorString, NOTHING, (int status, const char **text), (status, text))
{
    return text_of(status, NULL, text);
}

API(cuDeviceGetCount, STARTED, (int *count), (count))
{
    *count = machine.devices;
    return 0;
}

API(cuDeviceGet, STARTED, (int *device, int number), (device, number))
{
    *device = number;
    return number >= 0 && number < machine.devices ? 0 : INVALID_DEVICE;
}

API(cuDeviceGetName, STARTED, (char *name, int size, int device), (name, size, device))
{
    snprintf(name, size, "Stub GPU %d", device);
    return 0;
}

API(cuDeviceGetAttribute, STARTED, (int *value, int which, int device), (value, which, device))
{
    (void)device;
    if (which == 16) *value = 132;
    else if (which == 13) *value = 1980000; // kHz
    else if (which == 75) *value = machine.major;
    else if (which == 76) *value = machine.minor;
    else return INVALID_VALUE;
    return 0;
}

API(cuDeviceTotalMem_v2, STARTED, (size_t *bytes, int device), (bytes, device))
{
    (void)device;
    *bytes = machine.memory;
    return 0;
}

API(cuDevicePrimaryCtxRetain, STARTED, (void **context, int device), (context, device))
{
    *context = &machine + device;
    retained++;
    return 0;
}

API(cuDevicePrimaryCtxRelease_v2, STARTED, (int device), (device))
{
    (void)device;
    if (!retained) return INVALID_CONTEXT;
    retained--;
    return 0;
}

API(cuCtxSetCurrent, STARTED, (void *context), (context))
{
    current = context;
    return 0;
}

/* ---- memory and copies */

API(cuMemGetInfo_v2, CONTEXT, (size_t *available, size_t *total), (available, total))
{
    *available = machine.memory - held, *total = machine.memory;
    return 0;
}

API(cuMemAlloc_v2, CONTEXT, (void **address, size_t size), (address, size))
{
    if (!size) return INVALID_VALUE;
    if (size > machine.memory - held) return OUT_OF_MEMORY;
    *address = allocate(size, 0);
    return 0;
}

API(cuMemFree_v2, CONTEXT, (void *address), (address))
{
    drain(NULL);
    return release(address, 0);
}

API(cuMemHostAlloc, CONTEXT, (void **address, size_t size, unsigned flags), (address, size, flags))
{
    if (!size || flags) return INVALID_VALUE;
    *address = allocate(size, 1);
    return 0;
}

API(cuMemFreeHost, CONTEXT, (void *address), (address))
{
    drain(NULL);
    return release(address, 1);
}

API(cuMemcpyHtoDAsync_v2, CONTEXT,
    (void *target, const void *source, size_t size, void *stream), (target, source, size, stream))
{
    if (!stream || !within(target, size, 0)) return INVALID_VALUE;
    Task *task = put(COPY);                    /* reads late: no driver promises to read at once */
    task->target = target, task->source = source, task->count = size;
    return 0;
}

API(cuMemcpyDtoHAsync_v2, CONTEXT,
    (void *target, const void *source, size_t size, void *stream), (target, source, size, stream))
{
    if (!stream || !within(source, size, 0)) return INVALID_VALUE;
    Task *task = put(COPY);
    task->target = target, task->source = source, task->count = size;
    return 0;
}

API(cuMemcpyDtoDAsync_v2, CONTEXT,
    (void *target, const void *source, size_t size, void *stream), (target, source, size, stream))
{
    if (!stream || !within(source, size, 0) || !within(target, size, 0)) return INVALID_VALUE;
    Task *task = put(COPY);
    task->target = target, task->source = source, task->count = size;
    return 0;
}

static int fill(void *target, unsigned value, size_t count, size_t width, void *stream)
{
    if (!stream || (uintptr_t)target % width || !within(target, count * width, 0))
        return INVALID_VALUE;
    Task *task = put(FILL);
    task->target = target, task->value = value, task->count = count, task->width = width;
    return 0;
}

API(cuMemsetD8Async, CONTEXT,
    (void *target, unsigned char value, size_t count, void *stream), (target, value, count, stream))
{
    return fill(target, value, count, 1, stream);
}

API(cuMemsetD32Async, CONTEXT,
    (void *target, unsigned value, size_t count, void *stream), (target, value, count, stream))
{
    return fill(target, value, count, 4, stream);
}

/* ---- streams and events */

static int a_stream;

API(cuStreamCreate, CONTEXT, (void **stream, unsigned flags), (stream, flags))
{
    (void)flags;
    *stream = &a_stream;
    return 0;
}

API(cuStreamDestroy_v2, CONTEXT, (void *stream), (stream))
{
    drain(NULL);
    return stream == &a_stream ? 0 : INVALID_HANDLE;
}

API(cuStreamSynchronize, CONTEXT, (void *stream), (stream))
{
    drain(NULL);
    return stream == &a_stream ? 0 : INVALID_HANDLE;
}

API(cuEventCreate, CONTEXT, (Event **event, unsigned flags), (event, flags))
{
    (void)flags;
    *event = calloc(1, sizeof **event);
    (*event)->done = 1;
    return 0;
}

API(cuEventDestroy_v2, CONTEXT, (Event *event), (event))
{
    drain(event);
    free(event);
    return 0;
}

API(cuEventRecord, CONTEXT, (Event *event, void *stream), (event, stream))
{
    if (stream != &a_stream) return INVALID_HANDLE;
    drain(event);
    event->done = 0;
    put(EVENT)->event = event;
    return 0;
}

API(cuEventSynchronize, CONTEXT, (Event *event), (event))
{
    drain(event);
    return 0;
}

API(cuEventElapsedTime, CONTEXT, (float *out, Event *from, Event *to), (out, from, to))
{
    *out = (float)(to->time - from->time);
    return from->done && to->done ? 0 : 600;
}

/* ---- assembling and loading */

static char *copy_of(const void *text, size_t size)
{
    char *copy = calloc(size + 1, 1);
    if (!copy) abort();
    return memcpy(copy, text, size);
}

API(cuLinkCreate_v2, CONTEXT,
    (unsigned count, int *options, void **values, Link **link), (count, options, values, link))
{
    *link = calloc(1, sizeof **link);
    for (unsigned k = 0; k < count; k++) {
        if (options[k] == 5) (*link)->log = values[k];
        if (options[k] == 6) (*link)->log_size = (size_t)values[k];
    }
    return 0;
}

static int is_ptx(const char *text) { return text && strstr(text, ".version"); }

static void complain(Link *link, const char *text)
{
    if (link->log) snprintf(link->log, link->log_size, "%s", text);
}

API(cuLinkAddData_v2, CONTEXT,
    (Link *link, int kind, void *data, size_t size, const char *name, unsigned count, int *options,
     void **values),
    (link, kind, data, size, name, count, options, values))
{
    (void)name, (void)count, (void)options, (void)values;
    if (kind != 1) return INVALID_VALUE;
    link->ptx = copy_of(data, size);
    if (is_ptx(link->ptx)) return 0;
    complain(link, "stub, line 1; fatal : Missing .version directive\nstub fatal : Ptx assembly"
                   " aborted due to errors\n");
    return INVALID_PTX;
}

API(cuLinkComplete, CONTEXT, (Link *link, void **cubin, size_t *size), (link, cubin, size))
{
    *cubin = link->ptx, *size = strlen(link->ptx);
    return 0;
}

API(cuLinkDestroy, CONTEXT, (Link *link), (link))
{
    free(link->ptx), free(link);
    return 0;
}

API(cuModuleLoadData, CONTEXT, (Module **module, const char *image), (module, image))
{
    if (!is_ptx(image)) return INVALID_IMAGE;
    *module = malloc(sizeof **module);
    (*module)->image = copy_of(image, strlen(image));
    return 0;
}

API(cuModuleUnload, CONTEXT, (Module *module), (module))
{
    free(module->image), free(module);
    return 0;
}

/* Of `.entry name(.param .align 8 .b8 name_param_0[24], ...)`: the names and bytes. */
API(cuModuleGetFunction, CONTEXT,
    (Function **function, Module *module, const char *name), (function, module, name))
{
    size_t length = strlen(name);
    for (char *at = module->image; (at = strstr(at, ".entry")); ) {
        at += strlen(".entry");
        at += strspn(at, " \t\n");
        if (strncmp(at, name, length) || !strchr(" \t\n(", at[length])) continue;
        Function *found = calloc(1, sizeof *found);     /* for good, as a real one */
        snprintf(found->name, sizeof found->name, "%s", name);
        char *end = strchr(at, ')');
        for (int k = 0; k < PARAMETERS && end; k++) {
            at = strchr(at, '[');
            if (!at || at > end) break;
            found->sizes[k] = strtoul(++at, NULL, 10);
            if (found->sizes[k] > LIMIT) return INVALID_VALUE;
        }
        *function = found;
        return 0;
    }
    return NOT_FOUND;
}

/* ---- launches and graphs */

static int fill_record(Record *record, const Function *f, const unsigned *grid,
                       const unsigned *block, void **parameters)
{
    if (!f) return INVALID_HANDLE;
    if (!grid[0] || !block[0] || grid[0] > 0x7fffffffu || block[0] > 1024) return INVALID_VALUE;
    memset(record, 0, sizeof *record);
    snprintf(record->name, sizeof record->name, "%s", f->name);
    memcpy(record->grid, grid, sizeof record->grid);
    memcpy(record->block, block, sizeof record->block);
    for (int k = 0; k < PARAMETERS; k++) {
        record->sizes[k] = f->sizes[k];
        memcpy(record->values[k], parameters[k], f->sizes[k]);
    }
    return 0;
}

API(cuLaunchKernel, CONTEXT,
    (Function *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
     unsigned shared_bytes, void *stream, void **parameters, void **extra),
    (f, gx, gy, gz, bx, by, bz, shared_bytes, stream, parameters, extra))
{
    Record record;
    unsigned grid[3] = {gx, gy, gz}, block[3] = {bx, by, bz};
    if (!stream || extra || shared_bytes) return INVALID_VALUE;
    int status = fill_record(&record, f, grid, block, parameters);
    if (!status) put(KERNEL)->record = record;
    return status;
}

API(cuGraphCreate, CONTEXT, (Graph **graph, unsigned flags), (graph, flags))
{
    *graph = calloc(1, sizeof **graph);
    return flags ? INVALID_VALUE : 0;
}

API(cuGraphDestroy, CONTEXT, (Graph *graph), (graph))
{
    free(graph->nodes), free(graph);
    return 0;
}

/* A node is its number, from 1 on. */
API(cuGraphAddKernelNode_v2, CONTEXT,
    (uintptr_t *node, Graph *graph, const uintptr_t *before, size_t count, const KernelNode *what),
    (node, graph, before, count, what))
{
    Record record;
    int status = fill_record(&record, what->function, what->grid, what->block, what->parameters);
    if (status || count > EDGES) return status ? status : INVALID_VALUE;
    for (size_t k = 0; k < count; k++) {
        if (!before[k] || before[k] > (uintptr_t)graph->count) return INVALID_VALUE;
        record.before[k] = (int)before[k] - 1;
    }
    record.graph = 1, record.waits = (int)count;
    graph->nodes = realloc(graph->nodes, (graph->count + 1) * sizeof record);
    if (!graph->nodes) abort();
    graph->nodes[graph->count++] = record;
    *node = graph->count;
    return 0;
}

API(cuGraphInstantiateWithFlags, CONTEXT,
    (Executable **executable, Graph *graph, unsigned long long flags), (executable, graph, flags))
{
    if (flags) return INVALID_VALUE;
    Executable *made = calloc(1, sizeof *made);
    made->from = graph, made->count = graph->count;
    made->nodes = (Record *)copy_of(graph->nodes, graph->count * sizeof(Record));
    *executable = made;
    return 0;
}

API(cuGraphExecKernelNodeSetParams_v2, CONTEXT,
    (Executable *executable, uintptr_t node, const KernelNode *what), (executable, node, what))
{
    Record record;
    if (!node || node > (uintptr_t)executable->count) return INVALID_HANDLE;
    int status = fill_record(&record, what->function, what->grid, what->block, what->parameters);
    if (status) return status;
    Record *old = executable->nodes + node - 1;
    record.graph = 1, record.waits = old->waits;
    memcpy(record.before, old->before, sizeof record.before);
    *old = record;
    return 0;
}

API(cuGraphExecDestroy, CONTEXT, (Executable *executable), (executable))
{
    free(executable->nodes), free(executable);
    return 0;
}

API(cuGraphLaunch, CONTEXT, (Executable *executable, void *stream), (executable, stream))
{
    if (stream != &a_stream) return INVALID_HANDLE;
    for (int k = 0; k < executable->count; k++) put(KERNEL)->record = executable->nodes[k];
    return 0;
}
