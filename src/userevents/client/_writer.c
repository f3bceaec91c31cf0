/*
 * The fast path of an event, from the test of its enable word to the commit of its record.
 *
 * Two types: `Event`, which is made on top of the Python class that holds all the rest of an event (client/event.py),
 * and `Cursor`, which is session/cursor.py once more. Whatever is unusual goes to Python: an argument that needs
 * patience, a ring that must be mapped, a tracer that must be waited for.
 *
 * The order of things in a call: test the word; convert every argument; clock; then the record's head, count, commit.
 * Arguments whose conversion runs no code of the program are converted right into the ring, behind what is committed
 * (`write_in_place`). Where there is one that does, or that record has no room there, all are converted to the stack,
 * which may run anything; then, with no call into Python and no allocation: reserve, clock, copy, count, commit.
 * Who owns what, and which stores need an order: docs/notes/0006-memory-order-of-the-writers.md.
 *
 * Python's stable ABI of 3.11. A free-threaded Python has no such ABI: for it the file is built with RING_PER_THREAD, and
 * an event finds the cursor of the thread that calls it (`Seats`, session/lanes.py).
 */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <structmember.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "_exchange.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the formats are little endian; other machines use the twin in Python"
#endif

#ifdef Py_GIL_DISABLED
#define RING_PER_THREAD
#endif

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define ALWAYS_INLINE inline __attribute__((always_inline))

/* What 3.12's stable ABI has and 3.11 has too, without saying so. */
#define HAVE_VECTORCALL (1UL << 11)
#define ARGUMENTS_OFFSET ((size_t)1 << (8 * sizeof(size_t) - 1))
#define MOD_MULTIPLE_INTERPRETERS 3
#define PER_INTERPRETER_GIL ((void *)2)
typedef PyObject *(*vectorcall_t)(PyObject *, PyObject *const *, size_t, PyObject *);
PyAPI_FUNC(PyObject *) PyVectorcall_Call(PyObject *callable, PyObject *tuple, PyObject *dict);

/* session/layout.py and abi/ring_buffer.py; tests/client/test_native.py holds them equal. */
enum {
    WORD_PENDING = 0x80,
    WORD_ID_SHIFT = 16,
    RING_GENERATION = 768 / 4,
    RING_PAGES = 772 / 4,
    HEADER_SIZE = 1024,
    COUNTERS_PER_EVENT = 8,
    ATTEMPTS = 0,
    RING_FULL = 1,
    RING_HEAD = 0 / 8,
    RING_OPENING = 8 / 8,
    RING_TAIL = 64 / 8,
    RING_TAIL_OFFSET = 72 / 8,
    RING_READER_WAITING = 80 / 4,
    RING_TABLE = 4096,
    RING_TABLE_ENTRY_SIZE = 16,
    PAGE_CPUS_IN_RECORDS = 1,
    PAGE_SIZE_ = 4096,
    PAGE_HEADER_SIZE = 16,
    PAGE_DATA_SIZE = PAGE_SIZE_ - PAGE_HEADER_SIZE,
    MAX_BODY_SIZE = PAGE_DATA_SIZE - 8,
    ROOM = PAGE_DATA_SIZE - 16, /* offset and size of a body, which may take a time extend and a long header */
    SHORT_BODY_MAX = 112,
    SHORT_HEADER = 4, /* of a record: with its body's size, or that in a word of its own */
    LONG_HEADER = 8,
    RECORD_HEADER_SIZE = 8,
    MIN_BODY = 12,
    TYPE_LEN_BITS = 5,
    TYPE_LEN_TIME_EXTEND = 30,
    DELTA_BITS = 27,
    DELTA_MAX = (1 << DELTA_BITS) - 1,
    MAX_RING_PAGES = 16384,
    MAX_FIELDS = 128,
    COPIED_BY_WORDS = 64, /* more than that is libc's */
    SEATS = 4,            /* of a thread; a process of so many sessions has 1920 events or more */
};

/* What came of a write: session/cursor.py. */
enum { WRITTEN, READER_WAITS, RING_CHANGED, FULL, TOO_LARGE };

#define TRACER_CHECK_NS 100000000u
#define BELL_NS 1000000u

/* Not 0 if one of the eight bytes is. */
#define HAS_NUL(word) (((word) - 0x0101010101010101u) & ~(word) & 0x8080808080808080u)

/* ---------------------------------------------------------------------------------------------- thread and time -- */

#ifdef __GLIBC__ /* has room for a few such words in libraries that are loaded late; others refuse them */
#define NEAR __attribute__((tls_model("initial-exec")))
#else
#define NEAR
#endif
static _Thread_local NEAR int32_t thread_id;

#ifdef RING_PER_THREAD
typedef struct Cursor Cursor;

/* Whether a thread has a cursor. Shared by the cursor and its thread, of which either may go first. */
typedef struct {
    int references, taken;
    long number; /* of the lane */
} Claim;

/* A cursor that this thread has, as its events find it: by `place`, 0 for none. */
typedef struct {
    uint64_t place;
    Cursor *cursor;
    Claim *claim;
} Seat;

static _Thread_local NEAR Seat seats[SEATS];
static pthread_key_t seats_key; /* its destructor gives the seats of a thread back when it ends */

static void
drop_claim(Claim *claim)
{
    if (__atomic_sub_fetch(&claim->references, 1, __ATOMIC_ACQ_REL) == 0) {
        free(claim);
    }
}

static void
leave_seat(Seat *seat)
{
    Claim *claim = seat->claim;
    memset(seat, 0, sizeof *seat);
    if (claim != NULL) {
        __atomic_store_n(&claim->taken, 0, __ATOMIC_RELEASE); /* the next thread sees all that this one stored */
        drop_claim(claim);
    }
}

static void
leave_seats(void *Py_UNUSED(set))
{
    for (int n = 0; n < SEATS; n++) {
        leave_seat(&seats[n]);
    }
}
#endif

/* In a forked child: the thread has another id, and the rings are the parent's. */
static void
forget_thread(void)
{
    thread_id = 0;
#ifdef RING_PER_THREAD
    memset(seats, 0, sizeof seats);
#endif
}

static inline int32_t
current_thread(void)
{
    if (UNLIKELY(thread_id == 0)) {
        thread_id = (int32_t)syscall(SYS_gettid);
    }
    return thread_id;
}

static inline uint16_t
current_cpu(void)
{
    int cpu = sched_getcpu();
    return cpu < 0 ? 0 : (uint16_t)cpu;
}

static inline uint64_t
monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ------------------------------------------------------------------------------------------------------- Cursor -- */

typedef struct Cursor {
    PyObject_HEAD
    uint64_t *commit;    /* of the current page */
    unsigned char *base; /* of its data */
    uint64_t off, last, count;
    uint64_t *counters; /* up to here what every record needs */
    size_t counters_size;
    uint64_t head, pages;
    const uint32_t *lines;
    unsigned char *memory; /* of the ring, NULL for none */
    uint64_t data;
    uint32_t expects;
    int overwrite;
    uint64_t tracer_checked;
    uint64_t bell_time, bell_head; /* when it was rung last, at which page */
    Py_buffer lines_view, counters_view, ring_view;
#ifdef RING_PER_THREAD
    Claim *claim;
#endif
} Cursor;

static inline uint64_t *
ring_words(const Cursor *self)
{
    return (uint64_t *)self->memory;
}

/* Prepare the slot of page `head`, point the private state at it, then show it to the reader, empty. */
static void
enter_page(Cursor *self, uint64_t head)
{
    uint64_t index = head & (self->pages - 1);
    unsigned char *page = self->memory + self->data + PAGE_SIZE_ * index;
    unsigned char *entry = self->memory + RING_TABLE + RING_TABLE_ENTRY_SIZE * index;
    __atomic_store_n(&ring_words(self)[RING_OPENING], head, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE); /* whoever sees a byte of what follows sees `opening` too */
    *(uint64_t *)entry = self->count;
    *(uint32_t *)(entry + 8) = current_cpu();
    *(uint32_t *)(entry + 12) = PAGE_CPUS_IN_RECORDS;
    self->commit = (uint64_t *)page + 1;
    __atomic_store_n(self->commit, 0, __ATOMIC_RELAXED);
    self->base = page + PAGE_HEADER_SIZE;
    self->off = 0;
    self->last = 0;
    self->head = head;
    __atomic_store_n(&ring_words(self)[RING_HEAD], head, __ATOMIC_RELEASE);
}

static int
open_page(Cursor *self)
{
    if (self->memory == NULL || __atomic_load_n(&self->lines[RING_GENERATION], __ATOMIC_ACQUIRE) != self->expects ||
        __atomic_load_n(&self->lines[RING_PAGES], __ATOMIC_RELAXED) == 0) {
        return RING_CHANGED;
    }
    uint64_t head = self->head + 1;
    if (!self->overwrite &&
        head - __atomic_load_n(&ring_words(self)[RING_TAIL], __ATOMIC_ACQUIRE) >= self->pages) {
        return FULL;
    }
    enter_page(self, head);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* head before the look: either side sees the other */
    uint32_t waits_for = __atomic_load_n((uint32_t *)self->memory + RING_READER_WAITING, __ATOMIC_RELAXED);
    if (waits_for == 0 || head - __atomic_load_n(&ring_words(self)[RING_TAIL], __ATOMIC_RELAXED) < waits_for) {
        return WRITTEN;
    }
    return READER_WAITS;
}

/*
 * Whether to wake the reader. Not for each page of a burst, which would cost more than all its records: a reader woken
 * so shortly before is about to look anyway.
 */
static int
bell_is_due(Cursor *self, uint64_t now)
{
    if (now - self->bell_time < BELL_NS && self->head - self->bell_head < self->pages / 8) {
        return 0;
    }
    self->bell_time = now;
    self->bell_head = self->head;
    return 1;
}

/* Store the first word or two of a record; where its body begins. */
static ALWAYS_INLINE unsigned char *
begin_record(unsigned char *at, size_t size, uint32_t delta)
{
    if (LIKELY(size <= SHORT_BODY_MAX)) {
        *(uint32_t *)at = (uint32_t)(size >> 2) | delta << TYPE_LEN_BITS;
        return at + SHORT_HEADER;
    }
    ((uint32_t *)at)[0] = delta << TYPE_LEN_BITS;
    ((uint32_t *)at)[1] = (uint32_t)size + 4;
    return at + LONG_HEADER;
}

/* The record that ends at `end` is whole: count its attempt, and show it to the reader. */
static ALWAYS_INLINE void
commit(Cursor *self, uint64_t *counters, const unsigned char *end, uint64_t now)
{
    uint64_t off = (uint64_t)(end - self->base);
    /* The attempt in the same breath as its commit: docs/notes/0003-attempts-are-counted-with-the-commit.md. */
    counters[ATTEMPTS] += 1;
    __atomic_store_n(self->commit, off, __ATOMIC_RELEASE);
    self->off = off;
    self->last = now;
    self->count += 1;
}

/*
 * Commit one record and count its attempt, or say why not, with nothing done. `body` begins with the common header, and
 * its `size` is padded to 4 and at least MIN_BODY.
 */
static int
put(Cursor *self, size_t slot, const void *body, size_t size)
{
    int outcome = WRITTEN;
    uint64_t off = self->off;
    if (UNLIKELY(off + size > ROOM && (off || size > MAX_BODY_SIZE))) {
        if (size > MAX_BODY_SIZE) {
            return TOO_LARGE;
        }
        outcome = open_page(self);
        if (outcome > READER_WAITS) {
            return outcome;
        }
        off = 0;
    }
    unsigned char *at = self->base + off;
    uint64_t now = monotonic_ns();
    uint64_t delta = 0;
    if (UNLIKELY(off == 0)) {
        self->commit[-1] = now;
    } else {
        delta = now - self->last;
        if (UNLIKELY(delta > DELTA_MAX)) {
            ((uint32_t *)at)[0] = TYPE_LEN_TIME_EXTEND | (uint32_t)(delta & DELTA_MAX) << TYPE_LEN_BITS;
            ((uint32_t *)at)[1] = (uint32_t)(delta >> DELTA_BITS);
            at += 8;
            delta = 0;
        }
    }
    if (outcome == READER_WAITS && !bell_is_due(self, now)) {
        outcome = WRITTEN;
    }
    at = begin_record(at, size, (uint32_t)delta);
    memcpy(at, body, size);
    *(uint16_t *)(at + 2) = current_cpu();
    commit(self, self->counters + slot, at + size, now);
    return outcome;
}

static int
get_memory(PyObject *object, Py_buffer *view, Py_ssize_t at_least)
{
    if (PyObject_GetBuffer(object, view, PyBUF_WRITABLE) < 0) {
        return -1;
    }
    if (view->len < at_least || ((uintptr_t)view->buf & 7)) {
        PyErr_Format(PyExc_ValueError, "memory of %zd bytes at %p; at least %zd at a multiple of 8 are needed",
                     view->len, view->buf, at_least);
        PyBuffer_Release(view);
        return -1;
    }
    return 0;
}

static void
have_no_ring(Cursor *self)
{
    self->expects = 0;
    self->off = PAGE_DATA_SIZE; /* no record fits: the next one asks for a ring */
    self->memory = NULL;
    self->pages = 0;
    PyBuffer_Release(&self->ring_view);
}

static PyObject *
cursor_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *lines, *counters;
    if (keywords != NULL && PyDict_Size(keywords)) {
        PyErr_SetString(PyExc_TypeError, "Cursor() takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "OO:Cursor", &lines, &counters)) {
        return NULL;
    }
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Cursor *self = (Cursor *)alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    have_no_ring(self);
    if (get_memory(lines, &self->lines_view, HEADER_SIZE) < 0 ||
        get_memory(counters, &self->counters_view, 8 * COUNTERS_PER_EVENT) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    self->lines = self->lines_view.buf;
    self->counters = self->counters_view.buf;
    self->counters_size = (size_t)self->counters_view.len / 8;
#ifdef RING_PER_THREAD
    self->claim = calloc(1, sizeof(Claim));
    if (self->claim == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    self->claim->references = 1;
#endif
    return (PyObject *)self;
}

static void
cursor_dealloc(Cursor *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyBuffer_Release(&self->lines_view);
    PyBuffer_Release(&self->counters_view);
    PyBuffer_Release(&self->ring_view);
#ifdef RING_PER_THREAD
    if (self->claim != NULL) {
        drop_claim(self->claim);
    }
#endif
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *
cursor_prepare(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(ignored))
{
    Py_RETURN_NONE;
}

static PyObject *
cursor_enter(Cursor *self, PyObject *args)
{
    PyObject *memory;
    unsigned long long pages, data;
    unsigned int generation;
    int overwrite;
    Py_buffer view;
    if (!PyArg_ParseTuple(args, "OKKpI:enter", &memory, &pages, &data, &overwrite, &generation)) {
        return NULL;
    }
    if (pages == 0 || pages > MAX_RING_PAGES || pages & (pages - 1) || data & (PAGE_SIZE_ - 1) ||
        data < RING_TABLE + RING_TABLE_ENTRY_SIZE * pages || data > UINT32_MAX) {
        return PyErr_Format(PyExc_ValueError, "no ring has %llu pages from byte %llu on", pages, data);
    }
    if (get_memory(memory, &view, (Py_ssize_t)(data + PAGE_SIZE_ * pages)) < 0) {
        return NULL;
    }
    have_no_ring(self);
    self->ring_view = view;
    self->memory = view.buf;
    self->pages = pages;
    self->data = data;
    self->overwrite = overwrite;
    self->count = 0;
    self->expects = generation;
    self->bell_time = 0;
    enter_page(self, __atomic_load_n(&ring_words(self)[RING_HEAD], __ATOMIC_RELAXED));
    Py_RETURN_NONE;
}

static PyObject *
cursor_leave(Cursor *self, PyObject *Py_UNUSED(ignored))
{
    have_no_ring(self);
    Py_RETURN_NONE;
}

static PyObject *
cursor_put(Cursor *self, PyObject *args)
{
    Py_ssize_t slot, size;
    const char *body;
    if (!PyArg_ParseTuple(args, "ny#:put", &slot, &body, &size)) {
        return NULL;
    }
    if (slot < 0 || (size_t)slot + COUNTERS_PER_EVENT > self->counters_size || size < MIN_BODY || size & 3) {
        return PyErr_Format(PyExc_ValueError, "no record of %zd bytes for counter %zd", size, slot);
    }
    return PyLong_FromLong(put(self, (size_t)slot, body, (size_t)size));
}

static PyObject *
cursor_drained(Cursor *self, void *Py_UNUSED(closure))
{
    if (self->memory == NULL) {
        Py_RETURN_TRUE;
    }
    const uint64_t *words = ring_words(self);
    return PyBool_FromLong(words[RING_TAIL] == self->head && words[RING_TAIL_OFFSET] == self->off);
}

static PyMethodDef cursor_methods[] = {
    {"prepare", (PyCFunction)cursor_prepare, METH_NOARGS, "Nothing needs importing."},
    {"enter", (PyCFunction)cursor_enter, METH_VARARGS,
     "enter(memory, pages, data, overwrite, generation)\n--\n\nWrite to this ring from now on."},
    {"leave", (PyCFunction)cursor_leave, METH_NOARGS, "Have no ring from now on, and keep no memory of one."},
    {"put", (PyCFunction)cursor_put, METH_VARARGS,
     "put(slot, body)\n--\n\nCommit one record and count its attempt, or say why not, with nothing done."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef cursor_getset[] = {
    {"drained", (getter)cursor_drained, NULL, "Whether the reader has taken every committed byte.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef cursor_members[] = {
    {"expects", T_UINT, offsetof(Cursor, expects), 0, "The generation of rings that is taken for its own."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot cursor_slots[] = {
    {Py_tp_doc, "Where the next record of a session goes: session/cursor.py in C."},
    {Py_tp_new, cursor_new},
    {Py_tp_dealloc, cursor_dealloc},
    {Py_tp_methods, cursor_methods},
    {Py_tp_getset, cursor_getset},
    {Py_tp_members, cursor_members},
    {0, NULL},
};

static PyType_Spec cursor_spec = {
    .name = "userevents.client._writer.Cursor",
    .basicsize = sizeof(Cursor),
    .flags = Py_TPFLAGS_DEFAULT, /* no collector: a cursor holds memory only, and memory holds nothing */
    .slots = cursor_slots,
};

/* -------------------------------------------------------------------------------------------------------- Seats -- */

#ifdef RING_PER_THREAD
typedef struct {
    PyObject_HEAD
    unsigned long long place;
} Seats;

static PyObject *
seats_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(keywords))
{
    static uint64_t places;
    Seats *self = (Seats *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (self != NULL) {
        self->place = __atomic_add_fetch(&places, 1, __ATOMIC_RELAXED); /* no other ever has it */
    }
    return (PyObject *)self;
}

static void
seats_dealloc(Seats *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *
seats_mine(Seats *self, PyObject *Py_UNUSED(ignored))
{
    const Seat *seat = &seats[self->place % SEATS];
    return PyLong_FromLong(seat->place == self->place ? seat->claim->number : -1);
}

static PyObject *
seats_take(Seats *self, PyObject *args)
{
    long number;
    PyObject *object;
    if (!PyArg_ParseTuple(args, "lO:take", &number, &object)) {
        return NULL;
    }
    if (PyType_GetSlot(Py_TYPE(object), Py_tp_dealloc) != (void *)cursor_dealloc) {
        return PyErr_Format(PyExc_TypeError, "a seat is taken with a Cursor, not %R", object);
    }
    Cursor *cursor = (Cursor *)object;
    int nobody = 0;
    if (!__atomic_compare_exchange_n(&cursor->claim->taken, &nobody, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        Py_RETURN_FALSE;
    }
    Seat *seat = &seats[self->place % SEATS];
    leave_seat(seat); /* of another session, which has to be taken anew */
    cursor->claim->number = number;
    __atomic_add_fetch(&cursor->claim->references, 1, __ATOMIC_RELAXED);
    *seat = (Seat){.place = self->place, .cursor = cursor, .claim = cursor->claim};
    pthread_setspecific(seats_key, seats);
    Py_RETURN_TRUE;
}

static PyMethodDef seats_methods[] = {
    {"mine", (PyCFunction)seats_mine, METH_NOARGS, "Return the number of the lane that this thread has, -1 for none."},
    {"take", (PyCFunction)seats_take, METH_VARARGS,
     "take(number, cursor)\n--\n\nGive this thread a lane, unless another thread has it."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef seats_members[] = {
    {"place", T_ULONGLONG, offsetof(Seats, place), READONLY, "What an event finds its thread's cursor by."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot seats_slots[] = {
    {Py_tp_doc, "Which thread has which lane: session/lanes.py in C."},
    {Py_tp_new, seats_new},
    {Py_tp_dealloc, seats_dealloc},
    {Py_tp_methods, seats_methods},
    {Py_tp_members, seats_members},
    {0, NULL},
};

static PyType_Spec seats_spec = {
    .name = "userevents.client._writer.Seats",
    .basicsize = sizeof(Seats),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = seats_slots,
};
#endif

/* -------------------------------------------------------------------------------------------------------- Event -- */

/* One parameter and its field, as packing.native_table describes them. */
typedef struct {
    PyObject *name;     /* interned */
    PyObject *fallback; /* its default, NULL for none */
    PyObject *key;      /* of the bound field that goes before it, NULL for none: client/context.py */
    uint32_t offset;    /* in the body */
    uint32_t size;      /* in the fixed part */
    uint32_t base;      /* of dynamic data: what its offset counts from */
    char op;            /* see `pack` */
} Parameter;

/* How to pack a declaration. Made at the first enabled call, never changed, freed with its event. */
typedef struct {
    int count, positional;
    int plain; /* the number of arguments that need no binding, -1 for none */
    uint32_t fixed_size;
    PyObject *bound; /* called, gives the bound fields; NULL where no parameter takes one */
    Parameter parameters[];
} Table;

typedef struct {
    PyObject_HEAD
    vectorcall_t vectorcall;
    const uint32_t *word;
    int debug;
    Table *table;
#ifdef RING_PER_THREAD
    uint64_t place; /* of the calling thread's cursor, 0 where the writer has none of ours */
#else
    Cursor *cursor;   /* NULL where the writer has none of ours: its `commit` takes the record */
#endif
    PyObject *writer; /* NULL while declared nowhere */
    size_t index;
    PyObject *dict, *weakrefs;
    Py_buffer words;
} Event;

static const uint32_t off_word = 0;

static inline uint32_t
load_word(const Event *self)
{
    return __atomic_load_n(self->word, __ATOMIC_RELAXED);
}

/* Where the calling thread's records of this event go; NULL where Python has to see to it. */
static ALWAYS_INLINE Cursor *
cursor_of(const Event *self)
{
#ifdef RING_PER_THREAD
    const Seat *seat = &seats[self->place % SEATS];
    int is_here = seat->place == self->place && seat->cursor != NULL &&
                  (self->index + 1) * COUNTERS_PER_EVENT <= seat->cursor->counters_size;
    return LIKELY(is_here) ? seat->cursor : NULL;
#else
    return self->cursor;
#endif
}

static inline const Table *
table_of(const Event *self)
{
    return __atomic_load_n(&self->table, __ATOMIC_ACQUIRE);
}

static void
free_table(Table *table)
{
    if (table != NULL) {
        for (int n = 0; n < table->count; n++) {
            Py_XDECREF(table->parameters[n].name);
            Py_XDECREF(table->parameters[n].fallback);
            Py_XDECREF(table->parameters[n].key);
        }
        Py_XDECREF(table->bound);
        PyMem_Free(table);
    }
}

/* Read one (op, offset, size, base, name, has_default, default, key). */
static int
read_parameter(PyObject *described, Parameter *to)
{
    int has_default;
    PyObject *name, *fallback, *key;
    int op;
    if (!PyArg_ParseTuple(described, "CIIIUpOO", &op, &to->offset, &to->size, &to->base, &name, &has_default,
                          &fallback, &key)) {
        return -1;
    }
    to->op = (char)op;
    to->name = Py_NewRef(name);
    PyUnicode_InternInPlace(&to->name);
    to->fallback = has_default ? Py_NewRef(fallback) : NULL;
    to->key = key == Py_None ? NULL : Py_NewRef(key);
    return 0;
}

/* Make the table at its first use: most events of most programs are never listened to. */
static int
make_table(Event *self)
{
    PyObject *parameters, *bound;
    unsigned int fixed_size;
    int positional;
    Table *table = NULL;
    PyObject *described = PyObject_CallMethod((PyObject *)self, "_describe", NULL);
    if (described == NULL) {
        return -1;
    }
    if (!PyArg_ParseTuple(described, "IiOO!", &fixed_size, &positional, &bound, &PyTuple_Type, &parameters)) {
        goto done;
    }
    Py_ssize_t count = PyTuple_Size(parameters);
    if (count > MAX_FIELDS || fixed_size < RECORD_HEADER_SIZE) {
        PyErr_Format(PyExc_ValueError, "no event has %zd fields and %u bytes", count, fixed_size);
        goto done;
    }
    table = PyMem_Calloc(1, sizeof(Table) + (size_t)count * sizeof(Parameter));
    if (table == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    table->fixed_size = fixed_size;
    table->bound = bound == Py_None ? NULL : Py_NewRef(bound);
    table->positional = positional;
    table->plain = positional == count ? positional : -1;
    for (; table->count < count; table->count++) {
        if (read_parameter(PyTuple_GetItem(parameters, table->count), &table->parameters[table->count]) < 0) {
            free_table(table);
            table = NULL;
            goto done;
        }
    }
    Table *none = NULL;
    if (!__atomic_compare_exchange_n(&self->table, &none, table, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        free_table(table); /* somebody was faster while Python ran */
    }
done:
    Py_DECREF(described);
    return table_of(self) != NULL ? 0 : -1;
}

/* What a parameter is where nothing was passed for it, borrowed; NULL, with no error set, for nothing. */
static PyObject *
unpassed(const Parameter *parameter, PyObject *fields)
{
    PyObject *found = NULL;
    if (parameter->key != NULL && fields != NULL) {
        found = PyDict_GetItemWithError(fields, parameter->key);
        PyErr_Clear(); /* that `fields` is no dict: nothing is bound */
    }
    return found != NULL ? found : parameter->fallback;
}

/*
 * Put the arguments of a call in the order of the parameters; -1, with no error set, if they do not fit. `fields` are
 * those that are bound, which must be kept as long as what is put there; NULL for none.
 */
static int
bind_arguments(const Table *table, PyObject *const *args, Py_ssize_t given, PyObject *names, PyObject *fields,
               PyObject **bound)
{
    if (given > table->positional) {
        return -1;
    }
    memcpy(bound, args, (size_t)given * sizeof(PyObject *));
    memset(bound + given, 0, (size_t)(table->count - given) * sizeof(PyObject *));
    Py_ssize_t named = names != NULL ? PyTuple_Size(names) : 0;
    for (Py_ssize_t n = 0; n < named; n++) {
        PyObject *name = PyTuple_GetItem(names, n);
        int found = (int)given;
        while (found < table->count && table->parameters[found].name != name) {
            found++;
        }
        if (found == table->count) { /* not interned? */
            found = (int)given;
            while (found < table->count && PyUnicode_Compare(table->parameters[found].name, name) != 0) {
                found++;
            }
        }
        if (found == table->count || bound[found] != NULL) {
            PyErr_Clear();
            return -1;
        }
        bound[found] = args[given + n];
    }
    for (Py_ssize_t n = given; n < table->count; n++) {
        if (bound[n] == NULL && (bound[n] = unpassed(&table->parameters[n], fields)) == NULL) {
            return -1;
        }
    }
    return 0;
}

/*
 * Conversions. All return -1, with or without an error set, for what takes patience. With `plain` they take only what
 * runs no code of the program: an int, a str, bytes, a float, and most of what derives from them.
 */

/* Copy `size` bytes; -1 if they are `text` and hold a NUL, which would end it early. */
static ALWAYS_INLINE int
copy(unsigned char *to, const char *from, size_t size, const int text)
{
    uint64_t word, nul = 0;
    if (UNLIKELY(size > COPIED_BY_WORDS)) {
        if (text && memchr(from, 0, size) != NULL) {
            return -1;
        }
        memcpy(to, from, size);
    } else if (LIKELY(size >= 8)) { /* the last word may overlap the one before */
        for (size_t n = 0; n < size - 8; n += 8) {
            memcpy(&word, from + n, 8);
            memcpy(to + n, &word, 8);
            nul |= HAS_NUL(word);
        }
        memcpy(&word, from + size - 8, 8);
        memcpy(to + size - 8, &word, 8);
        nul |= HAS_NUL(word);
    } else {
        for (size_t n = 0; n < size; n++) {
            to[n] = (unsigned char)from[n];
            nul |= from[n] == 0;
        }
    }
    return text && UNLIKELY(nul) ? -1 : 0;
}

/* The bytes of a string. */
static ALWAYS_INLINE int
text_of(PyObject *value, const char **data, Py_ssize_t *size)
{
    if (LIKELY(PyUnicode_CheckExact(value)) || PyUnicode_Check(value)) {
        *data = PyUnicode_AsUTF8AndSize(value, size);
        return *data != NULL ? 0 : -1;
    }
    return PyBytes_CheckExact(value) ? PyBytes_AsStringAndSize(value, (char **)data, size) : -1;
}

/* An integer; -1 with its overflow (1 or -1) told where it has more than 64 bits. */
static ALWAYS_INLINE int
number_of(PyObject *value, long long *number, int *overflow, const int plain)
{
    if (plain && UNLIKELY(!PyLong_CheckExact(value)) && !PyLong_Check(value)) {
        return -1;
    }
    *number = PyLong_AsLongLongAndOverflow(value, overflow);
    return !plain && *number == -1 && *overflow == 0 && PyErr_Occurred() ? -1 : 0;
}

/* Store an integer of `bits` bits; -1 if it is none or does not fit. */
static ALWAYS_INLINE int
store_signed(PyObject *value, int bits, void *to, const int plain)
{
    long long number;
    int overflow;
    if (number_of(value, &number, &overflow, plain) < 0 || UNLIKELY(overflow)) {
        return -1;
    }
    if (bits < 64 && UNLIKELY(number < -(1LL << (bits - 1)) || number >= 1LL << (bits - 1))) {
        return -1;
    }
    memcpy(to, &number, (size_t)bits / 8);
    return 0;
}

static ALWAYS_INLINE int
store_unsigned(PyObject *value, int bits, void *to, const int plain)
{
    long long number;
    int overflow;
    if (number_of(value, &number, &overflow, plain) < 0 || UNLIKELY((unsigned long long)number >> bits)) {
        return -1; /* an overflow's -1 too */
    }
    memcpy(to, &number, (size_t)bits / 8);
    return 0;
}

/* Store what is above 2^63 - 1. */
static __attribute__((noinline)) int
store_large(PyObject *value, void *to)
{
    PyObject *index = PyNumber_Index(value);
    if (index == NULL) {
        return -1;
    }
    unsigned long long number = PyLong_AsUnsignedLongLong(index);
    Py_DECREF(index);
    if (number == (unsigned long long)-1 && PyErr_Occurred()) {
        return -1;
    }
    memcpy(to, &number, 8);
    return 0;
}

static ALWAYS_INLINE int
store_u64(PyObject *value, void *to, const int plain)
{
    long long number;
    int overflow;
    if (number_of(value, &number, &overflow, plain) < 0) {
        return -1;
    }
    if (UNLIKELY(number < 0)) {
        return overflow > 0 ? store_large(value, to) : -1;
    }
    memcpy(to, &number, 8);
    return 0;
}

static ALWAYS_INLINE int
store_double(PyObject *value, void *to, const int plain)
{
    if (plain && !PyFloat_CheckExact(value) && !PyLong_CheckExact(value)) {
        return -1;
    }
    double number = PyFloat_AsDouble(value);
    if (UNLIKELY(number == -1.0) && PyErr_Occurred()) {
        return -1;
    }
    memcpy(to, &number, 8);
    return 0;
}

/* Store bytes in a field of a fixed size; what they leave of it becomes zeros. */
static int
store_bytes(PyObject *value, const Parameter *parameter, unsigned char *to)
{
    char *data;
    Py_ssize_t size;
    int text = parameter->op == 't';
    if (text) {
        if (text_of(value, (const char **)&data, &size) < 0) {
            return -1;
        }
    } else if (PyBytes_Check(value)) {
        data = PyBytes_AsString(value);
        size = PyBytes_Size(value);
#ifndef RING_PER_THREAD /* there another thread may change it meanwhile: Python exports its memory first */
    } else if (PyByteArray_Check(value)) {
        data = PyByteArray_AsString(value);
        size = PyByteArray_Size(value);
#endif
    } else {
        return -1;
    }
    if (size > parameter->size || (parameter->op == 'S' && size != parameter->size)) {
        return -1;
    }
    memset(to + size, 0, parameter->size - (size_t)size);
    return copy(to, data, (size_t)size, text);
}

/* Store bytes behind all that is stored yet, within `room`, and in the fixed part where they are; their size, or -1. */
static ALWAYS_INLINE Py_ssize_t
store_dynamic(PyObject *value, const Parameter *parameter, unsigned char *body, size_t end, size_t room, const int text)
{
    const char *data;
    Py_ssize_t found;
    if (text) {
        if (text_of(value, &data, &found) < 0) {
            return -1;
        }
    } else if (!PyBytes_CheckExact(value) || PyBytes_AsStringAndSize(value, (char **)&data, &found) < 0) {
        return -1;
    }
    size_t size = (size_t)found;
    unsigned char *to = body + end;
    if (UNLIKELY(end + size + (size_t)text > room) || copy(to, data, size, text) < 0) {
        return -1;
    }
    if (text) {
        to[size++] = 0;
    }
    uint32_t where = (uint32_t)size << 16 | (uint32_t)(end - parameter->base);
    memcpy(body + parameter->offset, &where, 4);
    return (Py_ssize_t)size;
}

/*
 * Pack a whole call into the `room` bytes at `body`, all but the common header. The size of the body, 0 if it takes
 * patience. The codes of integers and floats are those of Python's struct; the others: 't' text and 's' bytes of at
 * most `size`, 'S' of exactly `size`, 'T' dynamic text, 'D' dynamic bytes. The padding, and no more than it at its
 * largest, may stand behind the room.
 */
static ALWAYS_INLINE size_t
pack(const Table *table, PyObject *const *values, unsigned char *body, size_t room, const int plain)
{
    size_t end = table->fixed_size;
    if (UNLIKELY(end > room)) {
        return 0;
    }
    const Parameter *last = table->parameters + table->count;
    for (const Parameter *parameter = table->parameters; parameter < last; parameter++) {
        PyObject *value = *values++;
        unsigned char *to = body + parameter->offset;
        Py_ssize_t done;
        switch (parameter->op) {
        case 'b':
            done = store_signed(value, 8, to, plain);
            break;
        case 'B':
            done = store_unsigned(value, 8, to, plain);
            break;
        case 'h':
            done = store_signed(value, 16, to, plain);
            break;
        case 'H':
            done = store_unsigned(value, 16, to, plain);
            break;
        case 'i':
            done = store_signed(value, 32, to, plain);
            break;
        case 'I':
            done = store_unsigned(value, 32, to, plain);
            break;
        case 'q':
            done = store_signed(value, 64, to, plain);
            break;
        case 'Q':
            done = store_u64(value, to, plain);
            break;
        case 'd':
            done = store_double(value, to, plain);
            break;
        case 't':
        case 's':
        case 'S':
            done = store_bytes(value, parameter, to);
            break;
        case 'T':
            done = store_dynamic(value, parameter, body, end, room, 1);
            end += (size_t)done;
            break;
        case 'D':
            done = store_dynamic(value, parameter, body, end, room, 0);
            end += (size_t)done;
            break;
        default:
            return 0;
        }
        if (UNLIKELY(done < 0)) {
            return 0;
        }
    }
    memset(body + end, 0, 4);
    end = (end + 3) & ~(size_t)3;
    return end < MIN_BODY ? MIN_BODY : end;
}

/* The common header of a record; its CPU is told when it is committed. */
static ALWAYS_INLINE uint64_t
common_header(uint32_t word, uint16_t cpu)
{
    return word >> WORD_ID_SHIFT | (uint32_t)cpu << 16 | (uint64_t)(uint32_t)current_thread() << 32;
}

/* The keywords of a call, as a dict. */
static PyObject *
keywords_of(PyObject *const *values, PyObject *names)
{
    PyObject *made = PyDict_New();
    Py_ssize_t count = names != NULL ? PyTuple_Size(names) : 0;
    for (Py_ssize_t n = 0; made != NULL && n < count; n++) {
        if (PyDict_SetItem(made, PyTuple_GetItem(names, n), values[n]) < 0) {
            Py_CLEAR(made);
        }
    }
    return made;
}

/* The error that is set, as an object; None for none. It is not set any more. */
static PyObject *
take_error(void)
{
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    if (type == NULL) {
        return Py_NewRef(Py_None);
    }
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(error, traceback);
    }
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return error;
}

/* Do the whole call in Python, `_emit(word, args, kwargs, error)`, with the error that a conversion raised, if any. */
static PyObject *
emit_in_python(Event *self, uint32_t word, PyObject *const *args, Py_ssize_t given, PyObject *names)
{
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception)) {
        return NULL; /* KeyboardInterrupt and its like are the program's */
    }
    PyObject *error = take_error(), *done = NULL, *keywords = NULL;
    PyObject *positional = PyTuple_New(given);
    if (positional != NULL) {
        for (Py_ssize_t n = 0; n < given; n++) {
            PyTuple_SetItem(positional, n, Py_NewRef(args[n]));
        }
        keywords = keywords_of(args + given, names);
        if (keywords != NULL) {
            done = PyObject_CallMethod((PyObject *)self, "_emit", "IOOO", (unsigned int)word, positional, keywords,
                                       error);
        }
    }
    Py_XDECREF(error);
    Py_XDECREF(positional);
    Py_XDECREF(keywords);
    return done;
}

/* Hand the packed record to the writer's `commit`, which takes it in Python. */
static PyObject *
commit_in_python(Event *self, const unsigned char *body, size_t size)
{
    PyObject *writer = Py_NewRef(self->writer);
    PyObject *done = PyObject_CallMethod(writer, "commit", "ny#", (Py_ssize_t)self->index, body, (Py_ssize_t)size);
    Py_DECREF(writer);
    return done;
}

/* Whether a record that found the ring full is counted right here; now and then Python looks whether a tracer lives. */
static int
count_full(Cursor *cursor, size_t slot)
{
    uint64_t now = monotonic_ns();
    if (now - cursor->tracer_checked >= TRACER_CHECK_NS) {
        cursor->tracer_checked = now;
        return 0;
    }
    cursor->counters[slot + ATTEMPTS] += 1;
    cursor->counters[slot + RING_FULL] += 1;
    return 1;
}

static PyObject *
none_for(PyObject *done)
{
    if (done == NULL) {
        return NULL;
    }
    Py_DECREF(done);
    Py_RETURN_NONE;
}

/* Wait in Python for the tracer's answer: the word to write with, 0 for none. -1 for an error. */
static int64_t
await_answer(Event *self)
{
    PyObject *answer = PyObject_CallMethod((PyObject *)self, "_await_answer", NULL);
    if (answer == NULL) {
        return -1;
    }
    int64_t word = PyLong_AsLongLong(answer);
    Py_DECREF(answer);
    return word == -1 && PyErr_Occurred() ? -1 : word & UINT32_MAX;
}

/*
 * Write a record right where it belongs, behind the last one that is committed, where no reader looks; nobody else
 * writes there, since none of the program's code runs meanwhile. Whether it is done: 0, with nothing done, for a page
 * that is full, a value that takes patience, a time that takes more words.
 */
static ALWAYS_INLINE int
write_in_place(Cursor *cursor, uint64_t *counters, uint32_t word, const Table *table, PyObject *const *values)
{
    uint64_t off = cursor->off;
    if (UNLIKELY(off + MIN_BODY > ROOM || off == 0)) {
        return 0;
    }
    unsigned char *at = cursor->base + off, *body = at + SHORT_HEADER;
    size_t size = pack(table, values, body, ROOM - off, 1);
    if (UNLIKELY(size == 0)) {
        return 0;
    }
    uint64_t now = monotonic_ns();
    uint64_t delta = now - cursor->last;
    if (UNLIKELY(delta > DELTA_MAX)) {
        return 0;
    }
    if (UNLIKELY(size > SHORT_BODY_MAX)) {
        memmove(at + LONG_HEADER, body, size);
    }
    body = begin_record(at, size, (uint32_t)delta);
    uint64_t header = common_header(word, current_cpu());
    memcpy(body, &header, sizeof header);
    commit(cursor, counters, body + size, now);
    return 1;
}

/* Pack and commit a call whose arguments are in order; what fails is done once more in Python. */
static PyObject *
emit_values(Event *self, uint32_t word, PyObject *const *values, PyObject *const *args, Py_ssize_t given,
            PyObject *names)
{
    unsigned char body[MAX_BODY_SIZE + MIN_BODY];
    size_t size = pack(table_of(self), values, body, MAX_BODY_SIZE, 0);
    if (UNLIKELY(size == 0)) {
        return none_for(emit_in_python(self, word, args, given, names));
    }
    uint64_t header = common_header(word, 0);
    memcpy(body, &header, sizeof header);
    /* The values' own code may have run until here, forked even. From here on, none. */
    Cursor *cursor = cursor_of(self);
    if (UNLIKELY(cursor == NULL)) {
        if (self->writer == NULL) {
            Py_RETURN_NONE;
        }
        return none_for(commit_in_python(self, body, size));
    }
    size_t slot = self->index * COUNTERS_PER_EVENT;
    int outcome = put(cursor, slot, body, size);
    if (LIKELY(outcome == WRITTEN) || (outcome == FULL && count_full(cursor, slot))) {
        Py_RETURN_NONE;
    }
    if (outcome == READER_WAITS) {
        PyObject *writer = Py_NewRef(self->writer), *done = PyObject_CallMethod(writer, "ring_bell", NULL);
        Py_DECREF(writer);
        return none_for(done);
    }
    return none_for(commit_in_python(self, body, size));
}

/* A call that takes more than that: values that run code, another page, another ring, another kind of writer. */
static __attribute__((noinline)) PyObject *
emit_patiently(Event *self, uint32_t word, PyObject *const *args, Py_ssize_t given, PyObject *names)
{
    PyObject *bound[MAX_FIELDS], *fields = NULL;
    PyObject *const *values = args;
    if (UNLIKELY(word & WORD_PENDING)) {
        int64_t answer = await_answer(self);
        if (answer <= 0) {
            return answer < 0 ? NULL : Py_NewRef(Py_None);
        }
        word = (uint32_t)answer;
    }
    if (UNLIKELY(word == 0)) {
        return none_for(emit_in_python(self, 0, args, given, names));
    }
    if (UNLIKELY(table_of(self) == NULL) && make_table(self) < 0) {
        return NULL;
    }
    const Table *table = table_of(self);
    if (names != NULL || given != table->plain) {
        if (table->bound != NULL && (fields = PyObject_CallNoArgs(table->bound)) == NULL) {
            return none_for(emit_in_python(self, word, args, given, names));
        }
        if (bind_arguments(table, args, given, names, fields, bound) < 0) {
            Py_XDECREF(fields);
            return none_for(emit_in_python(self, word, args, given, names));
        }
        values = bound;
    }
    PyObject *done = emit_values(self, word, values, args, given, names);
    Py_XDECREF(fields);
    return done;
}

/* A call of an event that somebody listens to, or of any event while debugging. */
static PyObject *
emit(Event *self, uint32_t word, PyObject *const *args, Py_ssize_t given, PyObject *names)
{
    Cursor *cursor = cursor_of(self);
    const Table *table = table_of(self);
    if (LIKELY(cursor != NULL && table != NULL && given == table->plain && names == NULL) &&
        LIKELY(word != 0 && !(word & WORD_PENDING))) {
        if (LIKELY(write_in_place(cursor, cursor->counters + self->index * COUNTERS_PER_EVENT, word, table, args))) {
            Py_RETURN_NONE;
        }
        PyErr_Clear(); /* nothing of the program has run: what failed fails once more */
    }
    return emit_patiently(self, word, args, given, names);
}

static PyObject *
event_vectorcall(PyObject *op, PyObject *const *args, size_t flagged, PyObject *names)
{
    Event *self = (Event *)op;
    uint32_t word = load_word(self);
    if (LIKELY(word == 0)) {
        Py_RETURN_NONE;
    }
    return emit(self, word, args, (Py_ssize_t)(flagged & ~ARGUMENTS_OFFSET), names);
}

/* The same while debugging: arguments are looked at even if nobody listens. */
static PyObject *
debug_vectorcall(PyObject *op, PyObject *const *args, size_t flagged, PyObject *names)
{
    Event *self = (Event *)op;
    return emit(self, load_word(self), args, (Py_ssize_t)(flagged & ~ARGUMENTS_OFFSET), names);
}

static PyObject *
event_write(PyObject *op, PyObject *const *args, Py_ssize_t given, PyObject *names)
{
    Event *self = (Event *)op;
    uint32_t word = load_word(self);
    if (LIKELY(word == 0 && !self->debug)) {
        Py_RETURN_NONE;
    }
    return emit(self, word, args, given, names);
}

/* Whether an event whose word is not 0 is listened to. */
static __attribute__((noinline)) int
is_listened_to(Event *self, uint32_t word)
{
    if (UNLIKELY(word & WORD_PENDING)) {
        int64_t answer = await_answer(self);
        return answer < 0 ? -1 : answer != 0;
    }
    return 1;
}

static int
event_bool(PyObject *op)
{
    Event *self = (Event *)op;
    uint32_t word = load_word(self);
    return LIKELY(word == 0) ? 0 : is_listened_to(self, word);
}

static PyObject *
event_enabled(PyObject *op, void *Py_UNUSED(closure))
{
    int is = event_bool(op);
    return is < 0 ? NULL : PyBool_FromLong(is);
}

static PyObject *
event_debug(Event *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->debug);
}

static int
event_set_debug(Event *self, PyObject *value, void *Py_UNUSED(closure))
{
    int is = value == NULL ? 0 : PyObject_IsTrue(value);
    if (is < 0) {
        return -1;
    }
    self->debug = is;
    self->vectorcall = is ? debug_vectorcall : event_vectorcall;
    return 0;
}

static void
unbind(Event *self)
{
    self->word = &off_word;
    self->index = 0;
#ifdef RING_PER_THREAD
    self->place = 0;
#else
    Py_CLEAR(self->cursor);
#endif
    Py_CLEAR(self->writer);
    PyBuffer_Release(&self->words);
}

static PyObject *
event_attach(Event *self, PyObject *args)
{
    PyObject *words, *writer, *cursor;
    Py_ssize_t index;
    Py_buffer view;
    if (!PyArg_ParseTuple(args, "OnOO:_attach", &words, &index, &writer, &cursor)) {
        return NULL;
    }
#ifdef RING_PER_THREAD
    uint64_t place = writer != Py_None && PyLong_Check(cursor) ? PyLong_AsUnsignedLongLongMask(cursor) : 0;
    if (PyErr_Occurred()) {
        return NULL;
    }
    const int ours = 0;
#else
    int ours = writer != Py_None && PyType_GetSlot(Py_TYPE(cursor), Py_tp_dealloc) == (void *)cursor_dealloc;
#endif
    if (PyObject_GetBuffer(words, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    if (index < 0 || index >= view.len / 4 || ((uintptr_t)view.buf & 3) ||
        (ours && (size_t)(index + 1) * COUNTERS_PER_EVENT > ((Cursor *)cursor)->counters_size)) {
        PyErr_Format(PyExc_ValueError, "no event has word %zd of %zd bytes", index, view.len);
        PyBuffer_Release(&view);
        return NULL;
    }
    unbind(self);
    self->words = view;
    self->word = (const uint32_t *)view.buf + index;
    self->index = (size_t)index;
#ifdef RING_PER_THREAD
    self->place = place;
#else
    self->cursor = ours ? (Cursor *)Py_NewRef(cursor) : NULL;
#endif
    self->writer = writer == Py_None ? NULL : Py_NewRef(writer);
    Py_RETURN_NONE;
}

/*
 * Let threads without a GIL use an event without contending for its reference count. Before 3.14 the only way is never
 * to count it again; an event is declared once and lives as long as its program, as a rule.
 */
static void
share(PyObject *event)
{
#if defined Py_GIL_DISABLED && PY_VERSION_HEX >= 0x030E0000
    PyUnstable_Object_EnableDeferredRefcount(event);
#elif defined Py_GIL_DISABLED
    Py_SET_REFCNT(event, (Py_ssize_t)UINT32_MAX + 1);
#else
    (void)event;
#endif
}

static PyObject *
event_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(keywords))
{
    Event *self = (Event *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (self != NULL) {
        self->vectorcall = event_vectorcall;
        self->word = &off_word;
        share((PyObject *)self);
    }
    return (PyObject *)self;
}

static int
event_traverse(Event *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->dict);
#ifndef RING_PER_THREAD
    Py_VISIT(self->cursor);
#endif
    Py_VISIT(self->writer);
    /* not words.obj: it leads nowhere back, and the collector cannot clear memory that is exported */
    for (int n = 0; self->table != NULL && n < self->table->count; n++) {
        Py_VISIT(self->table->parameters[n].fallback);
    }
    return 0;
}

static int
event_clear(Event *self)
{
    unbind(self);
    Py_CLEAR(self->dict);
    return 0;
}

static void
event_dealloc(Event *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyObject_GC_UnTrack(self);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)self);
    }
    event_clear(self);
    free_table(self->table);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMethodDef event_methods[] = {
    {"write", (PyCFunction)(void (*)(void))event_write, METH_FASTCALL | METH_KEYWORDS,
     "Emit one event if anybody listens."},
    {"_attach", (PyCFunction)event_attach, METH_VARARGS,
     "_attach(words, index, writer, cursor)\n--\n\nUse this enable word and this writer from now on."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef event_getset[] = {
    {"enabled", event_enabled, NULL, "Whether anybody listens: ``bool(event)``.", NULL},
    {"_debug", (getter)event_debug, (setter)event_set_debug,
     "Whether wrong arguments are looked for while nobody listens.", NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef event_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Event, vectorcall), READONLY, NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(Event, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Event, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot event_slots[] = {
    {Py_tp_new, event_new},
    {Py_tp_dealloc, event_dealloc},
    {Py_tp_traverse, event_traverse},
    {Py_tp_clear, event_clear},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_methods, event_methods},
    {Py_tp_getset, event_getset},
    {Py_tp_members, event_members},
    {Py_nb_bool, event_bool},
    {0, NULL},
};

static PyType_Spec event_spec = {
    .name = "userevents.client.event.Event",
    .basicsize = sizeof(Event),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | HAVE_VECTORCALL,
    .slots = event_slots,
};

/* ------------------------------------------------------------------------------------------------------- module -- */

static PyObject *
event_type(PyObject *module, PyObject *base)
{
    PyObject *bases = PyTuple_Pack(1, base);
    if (bases == NULL) {
        return NULL;
    }
    PyObject *type = PyType_FromModuleAndSpec(module, &event_spec, bases);
    Py_DECREF(bases);
    return type;
}

static PyMethodDef module_methods[] = {
    {"event_type", event_type, METH_O,
     "event_type(base)\n--\n\nMake the class of events on top of `base`, which does in Python what takes patience."},
    {"begin_exchange", (PyCFunction)(void (*)(void))begin_exchange, METH_FASTCALL,
     "begin_exchange(event, number, method, path, channel)\n--\n\nBegin an HTTP request that is recorded."},
    {NULL, NULL, 0, NULL},
};

static int
add_type(PyObject *module, const char *name, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    int failed = type == NULL || PyModule_AddObjectRef(module, name, type) < 0;
    Py_XDECREF(type);
    return failed ? -1 : 0;
}

static int
module_exec(PyObject *module)
{
    static int watched;
    if (!__atomic_exchange_n(&watched, 1, __ATOMIC_ACQ_REL)) {
        pthread_atfork(NULL, NULL, forget_thread);
#ifdef RING_PER_THREAD
        if (pthread_key_create(&seats_key, leave_seats)) {
            PyErr_SetString(PyExc_ImportError, "there is no thread-specific data left");
            return -1;
        }
#endif
    }
#ifdef RING_PER_THREAD
    if (add_type(module, "Seats", &seats_spec) < 0) {
        return -1;
    }
#endif
    return exchange_exec(module) < 0 ? -1 : add_type(module, "Cursor", &cursor_spec);
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    ModuleState *state = PyModule_GetState(module);
    Py_VISIT(state->exchange_type);
    return 0;
}

static int
module_clear(PyObject *module)
{
    ModuleState *state = PyModule_GetState(module);
    Py_CLEAR(state->exchange_type);
    Py_CLEAR(state->status_key);
    return 0;
}

static PyModuleDef_Slot slots_3_11[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static PyModuleDef_Slot slots_3_12[] = {
    {Py_mod_exec, module_exec},
    {MOD_MULTIPLE_INTERPRETERS, PER_INTERPRETER_GIL},
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_writer",
    .m_doc = "The fast path of an event. Its twin in Python: event.py and packing.py, and session/cursor.py.",
    .m_size = sizeof(ModuleState),
    .m_methods = module_methods,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
};

PyMODINIT_FUNC
PyInit__writer(void)
{
    module_definition.m_slots = Py_Version >= 0x030C0000 ? slots_3_12 : slots_3_11;
    return PyModuleDef_Init(&module_definition);
}
