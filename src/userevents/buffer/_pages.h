/* What the files of the _pages extension share: the walked page, batches of records in time order, small helpers.
 *
 * The extension does per record what the pure-Python files of this room and of formats/ do: walk pages, merge
 * them by time, put records into pages, decode them into rows or Arrow columns. Those files are the
 * reference; one test suite runs on both. Everything in a page is untrusted: every read is checked against it.
 *
 * Plain C, limited API of 3.11: one file for 3.11 and later. The GIL is held throughout; where there is none, the lock
 * of each object that may be changed (GUARDED).
 */
#ifndef USEREVENTS_PAGES_H
#define USEREVENTS_PAGES_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "pages are little endian, and this code copies their numbers as they are: use the pure-Python twin here"
#endif

#define PAGE_HEADER_SIZE 16
#define RECORD_HEADER_SIZE 8
#define COMMIT_MISSED_EVENTS (UINT64_C(1) << 31)
#define TYPE_LEN_MASK 31u
#define TYPE_LEN_BITS 5
#define TYPE_LEN_PADDING 29u
#define TYPE_LEN_TIME_EXTEND 30u
#define DELTA_BITS 27
#define DELTA_MAX ((1u << DELTA_BITS) - 1)
#define STAMP_MASK ((UINT64_C(1) << 59) - 1)
#define TIME_MAX (UINT64_C(1) << 62) /* as in page.py: times and sums of deltas stay within an int64 */

static inline uint16_t load_u16(const void *at) { uint16_t value; memcpy(&value, at, 2); return value; }
static inline uint32_t load_u32(const void *at) { uint32_t value; memcpy(&value, at, 4); return value; }
static inline uint64_t load_u64(const void *at) { uint64_t value; memcpy(&value, at, 8); return value; }
static inline void store_u32(void *at, uint32_t value) { memcpy(at, &value, 4); }
static inline void store_u64(void *at, uint64_t value) { memcpy(at, &value, 8); }

/* Objects of our types. A type is itself counted by each of its objects. */
static inline void *new_object(PyTypeObject *type)
{
    return ((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
}

static inline void free_object(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

/* `method` for one thread at a time: where there is no GIL it takes the object's own lock. */
#ifdef Py_GIL_DISABLED
#define LOCKED(object, statement) Py_BEGIN_CRITICAL_SECTION(object); statement; Py_END_CRITICAL_SECTION()
#else
#define LOCKED(object, statement) statement
#endif
#define GUARDED(method)                                                                                                \
    static PyObject *method##_guarded(void *self, PyObject *argument)                                                  \
    {                                                                                                                  \
        PyObject *result;                                                                                              \
        LOCKED(self, result = method(self, argument));                                                                 \
        return result;                                                                                                 \
    }

/* What PyArg_ParseTuple takes: it calls anything else a bug of the caller's. */
static inline int is_tuple(PyObject *object)
{
    if (!PyTuple_Check(object))
        PyErr_SetString(PyExc_TypeError, "a tuple was wanted here");
    return PyTuple_Check(object);
}

/* One walked page: buffer/run.py says what its attributes mean. */
typedef struct {
    PyObject_HEAD
    PyObject *owner; /* bytes, never changed, in which the page's data lie */
    PyObject *tag;
    PyObject *problem;
    const unsigned char *bytes;
    Py_ssize_t size;
    uint64_t since;
    uint32_t cpu;
    Py_ssize_t count;
    uint64_t *times;
    uint32_t *starts; /* behind the times, in the same memory */
    char is_plain, has_long, has_gap, is_whole;
    long long missed;
} Run;

/* Where a record of a walked page ends, and where its body begins. The walk has checked both. */
static inline uint32_t record_end(const Run *run, uint32_t start)
{
    uint32_t kind = run->bytes[start] & TYPE_LEN_MASK;
    return start + 4 + (kind ? kind << 2 : load_u32(run->bytes + start + 4));
}

static inline uint32_t body_start(const Run *run, uint32_t start)
{
    return start + (run->bytes[start] & TYPE_LEN_MASK ? 4 : 8);
}

/* Records `first` to `stop` of a run are next in time. */
typedef struct {
    Run *run; /* owned */
    uint32_t first, stop;
} Segment;

typedef struct {
    PyObject_HEAD
    Segment *segments;
    Py_ssize_t used, room;
    Py_ssize_t records;
} Batch;

extern PyTypeObject *run_type, *batch_type, *merge_type, *encoder_type, *rows_type, *columns_type, *chunk_type,
    *transcoder_type, *page_state_type, *ring_state_type, *appender_type;
extern PyType_Spec run_spec, batch_spec, merge_spec, encoder_spec, rows_spec, columns_spec, chunk_spec,
    transcoder_spec, page_state_spec, ring_state_spec, appender_spec;

/* A field as fields/payload.py plans to read it: its kind, start, end, and whether a number is signed. */
enum { INTEGER, FLOAT, BYTES, TEXT, DATA_BYTES, DATA_TEXT, REL_BYTES, REL_TEXT, REST, KINDS };

typedef struct {
    unsigned char kind, is_signed;
    uint32_t start, end;
} Reading;

/* A value in a record: `data` is NULL where the record does not hold it. Text ends before its first NUL. */
typedef struct {
    const unsigned char *data;
    size_t size;
} Span;

Reading *read_plan(PyObject *readings, Py_ssize_t *count);
PyObject *runs_in(PyObject *module, PyObject *args);
PyObject *appender(PyObject *module, PyObject *args);
static inline int is_text(int kind) { return kind < REST && kind & 1 && kind != FLOAT; }

/* Where a record holds a field, text with all that follows its NUL. Source: user_events contract, fields.md section 4. */
static inline Span place_of(const Reading *reading, const unsigned char *body, size_t size)
{
    size_t start = reading->start, end = reading->end;
    if (reading->kind == REST)
        return start <= size ? (Span){body + start, size - start} : (Span){NULL, 0};
    if (end > size)
        return (Span){NULL, 0};
    if (reading->kind >= DATA_BYTES) {
        if (start + 4 > size)
            return (Span){NULL, 0};
        uint32_t word = load_u32(body + start);
        start = (word & 0xFFFF) + (reading->kind >= REL_BYTES ? start + 4 : 0);
        end = start + (word >> 16);
        if (end > size)
            return (Span){NULL, 0};
    }
    return (Span){body + start, end - start};
}

/* Text as far as its first NUL. */
static inline Span ended_text(Span span)
{
    const unsigned char *nul = span.size ? memchr(span.data, 0, span.size) : NULL;
    return (Span){span.data, nul ? (size_t)(nul - span.data) : span.size};
}

/* What a record holds of a field. */
static inline Span span_of(const Reading *reading, const unsigned char *body, size_t size)
{
    Span span = place_of(reading, body, size);
    return span.data && is_text(reading->kind) ? ended_text(span) : span;
}

static inline int64_t signed_of(const Reading *reading, const unsigned char *data)
{
    switch (reading->end - reading->start) {
    case 1: return reading->is_signed ? (int8_t)data[0] : data[0];
    case 2: return reading->is_signed ? (int16_t)load_u16(data) : load_u16(data);
    case 4: return reading->is_signed ? (int32_t)load_u32(data) : (int64_t)load_u32(data);
    default: return (int64_t)load_u64(data);
    }
}

/* What a callback said of a thread, kept where it holds at any time: a small hash by (tag, cpu, tid). */
typedef struct {
    PyObject *tag, *value;
    uint32_t cpu;
    int32_t tid;
} Owner;

typedef struct {
    PyObject *callback;
    Owner *slots;
    size_t size, used;
} Owners;

int check_shift(long long shift);
int owners_init(Owners *owners, PyObject *callback);
void owners_clear(Owners *owners);
PyObject *owner_of(Owners *owners, const Run *run, int32_t tid, int64_t time, int *holds);

#endif
