/* A walked page, as a type: the twin of buffer/run.py, and of `walk` in buffer/page.py. */
#include "_pages.h"
#include <structmember.h>

PyTypeObject *run_type;

#define ANY -1 /* event */
#define COMMIT_LENGTH_MASK 0xFFFFF
#define COMMIT_MISSED_STORED (UINT64_C(1) << 30)

static PyObject *no_problem(void) { return PyUnicode_FromStringAndSize(NULL, 0); }

/* Read what stands at `at` and is no short record; returns where it stops, or 0 and sets the run's problem. */
static Py_ssize_t step(Run *run, Py_ssize_t at, Py_ssize_t end, uint64_t *time)
{
    uint32_t word = load_u32(run->bytes + at), kind = word & TYPE_LEN_MASK, following;
    if (word == TYPE_LEN_PADDING)
        return end;
    if (kind == 1 || at + 8 > end) {
        run->problem = PyUnicode_FromFormat("a record of type %u has no room at byte %zd of %zd", kind, at, end);
        return 0;
    }
    following = load_u32(run->bytes + at + 4);
    if (kind > TYPE_LEN_PADDING) {
        uint64_t value = (word >> TYPE_LEN_BITS) + ((uint64_t)following << DELTA_BITS);
        if (kind == TYPE_LEN_TIME_EXTEND) {
            *time += value;
        } else {
            uint64_t stamp = (*time & ~STAMP_MASK) | (value & STAMP_MASK);
            *time = stamp >= *time ? stamp : stamp + STAMP_MASK + 1;
        }
        if (*time >= TIME_MAX) {
            run->problem = PyUnicode_FromFormat("time %llu at byte %zd is out of range", (unsigned long long)*time, at);
            return 0;
        }
        return at + 8;
    }
    if (following & 3 || following < (kind ? 4u : 4u + RECORD_HEADER_SIZE) || (size_t)following + 4 > (size_t)(end - at)) {
        run->problem = PyUnicode_FromFormat("a record of type %u at byte %zd of %zd claims a length of %u", kind, at, end,
                                            following);
        return 0;
    }
    if (!kind)
        *time += word >> TYPE_LEN_BITS;
    return at + 4 + following;
}

/* Fill in times and starts, which have room for one record in every 12 bytes; -1 if Python failed. Records of other
 * events than `only` are left out, if it is not ANY. */
static int walk_data(Run *run, int only)
{
    Py_ssize_t passed = 0;
    uint64_t time = run->since;
    Py_ssize_t size = run->size & ~(Py_ssize_t)3, at = 0, count = 0;
    run->is_plain = 1;
    if (time >= TIME_MAX) {
        run->problem = PyUnicode_FromFormat("time stamp %llu is out of range", (unsigned long long)time);
        return run->problem ? 0 : -1;
    }
    while (at < size) {
        uint32_t word = load_u32(run->bytes + at), kind = word & TYPE_LEN_MASK;
        if (kind > 1 && kind < TYPE_LEN_PADDING) {
            Py_ssize_t stop = at + 4 + (kind << 2);
            if (stop > size) {
                run->problem = PyUnicode_FromFormat("what begins at byte %zd ends at %zd, its page's data at %zd", at,
                                                    stop, size);
                break;
            }
            time += word >> TYPE_LEN_BITS;
            run->times[count] = time;
            run->starts[count] = (uint32_t)at;
            count += only == ANY || load_u16(run->bytes + at + 4) == only;
            passed++;
            at = stop;
            continue;
        }
        Py_ssize_t stop = step(run, at, size, &time);
        if (!stop)
            break;
        if (!kind) {
            run->has_long = 1;
            run->times[count] = time;
            run->starts[count] = (uint32_t)at;
            count += only == ANY || load_u16(run->bytes + at + 8) == only;
            passed++;
        } else if (kind != TYPE_LEN_TIME_EXTEND) {
            run->is_plain = 0;
        }
        at = stop;
    }
    run->count = count;
    run->is_plain &= count == passed;
    if (at >= size && !run->problem)
        run->problem = run->size & 3 ? PyUnicode_FromFormat("%zd bytes of data are no whole number of words", run->size)
                                     : no_problem();
    return run->problem ? 0 : -1;
}

static Run *run_alloc(PyObject *owner, const unsigned char *bytes, Py_ssize_t size, uint64_t since, uint32_t cpu,
                      PyObject *tag, Py_ssize_t room)
{
    Run *run = new_object(run_type);
    if (!run)
        return NULL;
    run->bytes = bytes;
    run->size = size;
    run->owner = Py_NewRef(owner);
    run->tag = Py_NewRef(tag);
    run->since = since;
    run->cpu = cpu;
    run->times = PyMem_Malloc((size_t)(room ? room : 1) * (sizeof *run->times + sizeof *run->starts));
    if (!run->times) {
        PyErr_NoMemory();
        Py_CLEAR(run);
    } else {
        run->starts = (uint32_t *)(run->times + (room ? room : 1));
    }
    return run;
}

/* Walk the page data that lie in `owner`. */
static Run *run_of(PyObject *owner, const unsigned char *bytes, Py_ssize_t size, uint64_t since, uint32_t cpu,
                   PyObject *tag, int only)
{
    Run *run = run_alloc(owner, bytes, size, since, cpu, tag, size / 12 + 1);
    if (run && walk_data(run, only) < 0)
        Py_CLEAR(run);
    if (run)
        run->is_whole = run->is_plain && !PyUnicode_GetLength(run->problem);
    return run;
}

static PyObject *run_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"data", "since", "cpu", "tag", "only", NULL};
    PyObject *data, *tag = Py_None;
    unsigned long long since;
    unsigned int cpu = 0;
    int only = ANY;
    (void)type;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "SK|IOi", names, &data, &since, &cpu, &tag, &only))
        return NULL;
    if (PyBytes_Size(data) > 1 << 26) {
        PyErr_Format(PyExc_ValueError, "a page of %zd bytes is none", PyBytes_Size(data));
        return NULL;
    }
    const unsigned char *bytes = (const unsigned char *)PyBytes_AsString(data);
    return (PyObject *)run_of(data, bytes, PyBytes_Size(data), since, cpu, tag, only);
}

/* Walk one page that lies in `pages`; NULL with its problem told for one whose header is nonsense. */
/* Note in a run what its page's header says of records that were lost before it. */
static Run *after_gap(Run *run, const unsigned char *page, uint64_t used, uint64_t size)
{
    uint64_t commit = load_u64(page + 8);
    if (!run || !(commit & COMMIT_MISSED_EVENTS))
        return run;
    run->has_gap = 1;
    if (commit & COMMIT_MISSED_STORED && PAGE_HEADER_SIZE + used + 8 <= size) {
        uint64_t missed = load_u64(page + PAGE_HEADER_SIZE + used);
        run->missed = missed > INT64_MAX ? INT64_MAX : (long long)missed;
    }
    return run;
}

static Run *run_at(PyObject *pages, const unsigned char *page, Py_ssize_t size, uint32_t cpu, PyObject *tag, int only,
                   PyObject **problem)
{
    uint64_t used = size < PAGE_HEADER_SIZE ? 0 : load_u64(page + 8) & COMMIT_LENGTH_MASK;
    if (size < PAGE_HEADER_SIZE)
        *problem = PyUnicode_FromFormat("has %zd bytes, its header alone takes %d", size, PAGE_HEADER_SIZE);
    else if (PAGE_HEADER_SIZE + used > (uint64_t)size)
        *problem = PyUnicode_FromFormat("claims %zd bytes of data and has %zd in all", (Py_ssize_t)used, size);
    else
        return after_gap(run_of(pages, page + PAGE_HEADER_SIZE, (Py_ssize_t)used, load_u64(page), cpu, tag, only),
                         page, used, (uint64_t)size);
    return NULL;
}

/* Walk pages that lie behind each other: the twin of `runs_in` in run.py. */
PyObject *runs_in(PyObject *module, PyObject *args)
{
    PyObject *pages, *runs, *problems, *tag = Py_None;
    Py_ssize_t page_size;
    unsigned int cpu;
    int only = ANY;
    (void)module;
    if (!PyArg_ParseTuple(args, "SnI|iO", &pages, &page_size, &cpu, &only, &tag))
        return NULL;
    if (page_size < PAGE_HEADER_SIZE || page_size > 1 << 26)
        return PyErr_Format(PyExc_ValueError, "a page of %zd bytes is none", page_size);
    Py_ssize_t size = PyBytes_Size(pages);
    runs = PyList_New(0);
    problems = PyList_New(0);
    for (Py_ssize_t at = 0, number = 0; runs && problems && at < size; at += page_size, number++) {
        const unsigned char *page = (const unsigned char *)PyBytes_AsString(pages) + at;
        PyObject *problem = NULL;
        Run *run = run_at(pages, page, size - at < page_size ? size - at : page_size, cpu, tag, only,
                          &problem);
        if (run && PyUnicode_GetLength(run->problem))
            problem = Py_NewRef(run->problem);
        PyObject *found = problem ? Py_BuildValue("nO", number, problem) : NULL;
        if ((!run && !problem) || (run && PyList_Append(runs, (PyObject *)run) < 0) ||
            (problem && (!found || PyList_Append(problems, found) < 0)))
            Py_CLEAR(runs);
        Py_XDECREF(found);
        Py_XDECREF(problem);
        Py_XDECREF((PyObject *)run);
    }
    PyObject *both = runs && problems ? Py_BuildValue("OO", runs, problems) : NULL;
    Py_XDECREF(runs);
    Py_XDECREF(problems);
    return both;
}

static void run_dealloc(Run *run)
{
    PyMem_Free(run->times);
    Py_XDECREF(run->owner);
    Py_XDECREF(run->tag);
    Py_XDECREF(run->problem);
    free_object((PyObject *)run);
}

static Py_ssize_t run_length(PyObject *self) { return ((Run *)self)->count; }

static PyObject *run_data(Run *run, void *closure)
{
    (void)closure;
    if (PyBytes_Size(run->owner) == run->size)
        return Py_NewRef(run->owner);
    return PyBytes_FromStringAndSize((const char *)run->bytes, run->size);
}

static PyObject *run_times(Run *run, void *closure)
{
    PyObject *list = PyList_New(run->count);
    (void)closure;
    for (Py_ssize_t number = 0; list && number < run->count; number++) {
        PyObject *value = PyLong_FromUnsignedLongLong(run->times[number]);
        if (!value || PyList_SetItem(list, number, value) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *run_starts(Run *run, void *closure)
{
    PyObject *list = PyList_New(run->count);
    (void)closure;
    for (Py_ssize_t number = 0; list && number < run->count; number++) {
        PyObject *value = PyLong_FromUnsignedLong(run->starts[number]);
        if (!value || PyList_SetItem(list, number, value) < 0)
            Py_CLEAR(list);
    }
    return list;
}

/* Records met under one head: the 8 bytes they begin with. */
typedef struct {
    uint64_t head, count, first, last;
} Tally;

static int add_tally(PyObject *found, const Tally *tally)
{
    PyObject *key = PyBytes_FromStringAndSize((const char *)&tally->head, RECORD_HEADER_SIZE);
    PyObject *value = Py_BuildValue("KKK", (unsigned long long)tally->count, (unsigned long long)tally->first,
                                    (unsigned long long)tally->last);
    int done = key && value ? PyDict_SetItem(found, key, value) : -1;
    Py_XDECREF(key);
    Py_XDECREF(value);
    return done;
}

static PyObject *run_heads(Run *run, PyObject *nothing)
{
    size_t size = 16;
    (void)nothing;
    while (size < (size_t)run->count * 2)
        size *= 2;
    Tally *table = PyMem_Calloc(size, sizeof *table);
    PyObject *found = PyDict_New();
    if (!table || !found) {
        PyMem_Free(table);
        Py_XDECREF(found);
        return PyErr_NoMemory();
    }
    for (Py_ssize_t number = 0; number < run->count; number++) {
        uint64_t head = load_u64(run->bytes + body_start(run, run->starts[number])), time = run->times[number];
        size_t slot = (size_t)((head ^ head >> 29) * UINT64_C(0x9E3779B97F4A7C15) >> 32) & (size - 1);
        while (table[slot].count && table[slot].head != head)
            slot = (slot + 1) & (size - 1);
        Tally *tally = &table[slot];
        if (!tally->count) {
            tally->head = head;
            tally->first = time;
        }
        tally->count++;
        tally->last = time;
    }
    for (size_t slot = 0; slot < size && found; slot++)
        if (table[slot].count && add_tally(found, &table[slot]) < 0)
            Py_CLEAR(found);
    PyMem_Free(table);
    return found;
}

static int has_word(const char *words, Py_ssize_t size, uint16_t wanted)
{
    for (Py_ssize_t at = 0; at + 2 <= size; at += 2)
        if (load_u16(words + at) == wanted)
            return 1;
    return 0;
}

/* Give records other ids and threads (pairs of old and new), and take the CPU out of their headers if it is there. */
static void rewrite(Run *run, unsigned char *data, const char *pairs, Py_ssize_t size, int has_cpus,
                    const char *threads, Py_ssize_t threads_size)
{
    for (Py_ssize_t number = 0; number < run->count; number++) {
        unsigned char *head = data + body_start(run, run->starts[number]);
        uint16_t id = load_u16(head);
        for (Py_ssize_t at = 0; at + 4 <= size; at += 4)
            if (load_u16(pairs + at) == id) {
                memcpy(head, pairs + at + 2, 2);
                break;
            }
        if (has_cpus)
            memset(head + 2, 0, 2);
        uint32_t tid = load_u32(head + 4);
        for (Py_ssize_t at = 0; at + 8 <= threads_size; at += 8)
            if (load_u32(threads + at) == tid) {
                memcpy(head + 4, threads + at + 4, 4);
                break;
            }
    }
}

static void move_times(Run *run, double drift)
{
    for (Py_ssize_t number = 0; number < run->count; number++)
        run->times[number] += (uint64_t)(int64_t)((double)(run->times[number] - run->since) * drift);
    run->is_plain = run->is_whole = 0; /* what stands between the records no longer says their times */
}

static PyObject *run_select(Run *run, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"cpu", "dropped", "renamed", "cpus", "threads", "drift", NULL};
    unsigned int cpu = run->cpu;
    double drift = 0;
    const char *dropped = NULL, *renamed = NULL, *cpus = NULL, *threads = NULL;
    Py_ssize_t dropped_size = 0, renamed_size = 0, cpus_size = 0, threads_size = 0, kept = 0;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|Iy#y#z#y#d", names, &cpu, &dropped, &dropped_size, &renamed,
                                     &renamed_size, &cpus, &cpus_size, &threads, &threads_size, &drift))
        return NULL;
    Run *chosen = run_alloc(run->owner, run->bytes, run->size, run->since, cpu, run->tag, run->count);
    if (!chosen)
        return NULL;
    for (Py_ssize_t number = 0; number < run->count; number++) {
        const unsigned char *head = run->bytes + body_start(run, run->starts[number]);
        if (has_word(dropped, dropped_size, load_u16(head)) || (cpus && !has_word(cpus, cpus_size, load_u16(head + 2))))
            continue;
        chosen->times[kept] = run->times[number];
        chosen->starts[kept++] = run->starts[number];
    }
    chosen->count = kept;
    chosen->problem = Py_NewRef(run->problem);
    chosen->has_long = run->has_long;
    chosen->has_gap = run->has_gap;
    chosen->missed = run->missed;
    chosen->is_plain = run->is_plain && kept == run->count;
    chosen->is_whole = run->is_whole && kept == run->count;
    if (drift != 0)
        move_times(chosen, drift);
    if (renamed_size || cpus || threads_size) {
        PyObject *data = PyBytes_FromStringAndSize((const char *)run->bytes, run->size);
        if (!data) {
            Py_DECREF(chosen);
            return NULL;
        }
        rewrite(chosen, (unsigned char *)PyBytes_AsString(data), renamed, renamed_size, cpus != NULL, threads,
                threads_size);
        Py_DECREF(chosen->owner);
        chosen->owner = data;
        chosen->bytes = (const unsigned char *)PyBytes_AsString(data);
    }
    return (PyObject *)chosen;
}

static PyMethodDef run_methods[] = {
    {"heads", (PyCFunction)run_heads, METH_NOARGS, "Return {8 header bytes: (records, first time, last time)}."},
    {"select", (PyCFunction)(void (*)(void))run_select, METH_VARARGS | METH_KEYWORDS,
     "Return a run of some of the records, their headers as a trace has them."},
    {NULL},
};

static PyMemberDef run_members[] = {
    {"tag", T_OBJECT, offsetof(Run, tag), READONLY, NULL},
    {"problem", T_OBJECT, offsetof(Run, problem), READONLY, NULL},
    {"since", T_ULONGLONG, offsetof(Run, since), READONLY, NULL},
    {"cpu", T_UINT, offsetof(Run, cpu), READONLY, NULL},
    {"is_plain", T_BOOL, offsetof(Run, is_plain), READONLY, NULL},
    {"has_long", T_BOOL, offsetof(Run, has_long), READONLY, NULL},
    {"is_whole", T_BOOL, offsetof(Run, is_whole), READONLY, NULL},
    {"has_gap", T_BOOL, offsetof(Run, has_gap), 0, NULL},
    {"missed", T_LONGLONG, offsetof(Run, missed), 0, NULL},
    {NULL},
};

static PyGetSetDef run_getset[] = {
    {"data", (getter)run_data, NULL, NULL, NULL},
    {"times", (getter)run_times, NULL, NULL, NULL},
    {"starts", (getter)run_starts, NULL, NULL, NULL},
    {NULL},
};

static PyType_Slot run_slots[] = {
    {Py_tp_doc, "One page, walked: the native form of buffer/run.py."},
    {Py_tp_new, run_new},
    {Py_tp_dealloc, run_dealloc},
    {Py_tp_methods, run_methods},
    {Py_tp_members, run_members},
    {Py_tp_getset, run_getset},
    {Py_sq_length, run_length},
    {0, NULL},
};

PyType_Spec run_spec = {"userevents.buffer._pages.Run", sizeof(Run), 0, Py_TPFLAGS_DEFAULT, run_slots};
