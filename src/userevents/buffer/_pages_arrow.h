/* The Arrow C data interface, as https://arrow.apache.org/docs/format/CDataInterface.html defines it, and our tables. */
#ifndef USEREVENTS_PAGES_ARROW_H
#define USEREVENTS_PAGES_ARROW_H

#include "_pages.h"
#include <pthread.h>

#define ARROW_FLAG_NULLABLE 2

struct ArrowSchema {
    const char *format, *name, *metadata;
    int64_t flags, n_children;
    struct ArrowSchema **children, *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length, null_count, offset, n_buffers, n_children;
    const void **buffers;
    struct ArrowArray **children, *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

struct ArrowArrayStream {
    int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *out);
    int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *out);
    const char *(*get_last_error)(struct ArrowArrayStream *);
    void (*release)(struct ArrowArrayStream *);
    void *private_data;
};

#define ROWS_MAX (1 << 20) /* of a table */

/* Memory that a thread of ours is making ready: _pages_tables.c. */
typedef struct {
    pthread_t thread;
    pid_t owner; /* who started it: in a fork's child it is not there */
    int is_ending;
    size_t steps;
    Py_ssize_t count;
    struct Part *parts; /* NULL: there is none */
    int64_t rows; /* for so many of the table's the memory is ready, or will be */
} Ahead;

/* Bytes that grow, from libc's allocator while they are few. */
typedef struct {
    unsigned char *data;
    size_t used, room;
    Ahead *ahead; /* who may be making some of it ready, or NULL */
} Buffer;

void ahead_end(Ahead *ahead);

void buffer_free(Buffer *buffer);
int buffer_reserve(Buffer *buffer, size_t more);

/* The texts of a column whose rows are numbers of texts: each stands here once, as long as that is worth while. */
typedef struct {
    const char *format;
    int32_t count;
    Buffer offsets, texts, hashes;
    uint32_t *slots; /* by hash: the number of a text, plus 1 */
    size_t slots_size;
} Dictionary;

/* One column: values of `width` bytes, or (width 0) offsets and the bytes they point into. */
typedef struct {
    char *name, *format;
    uint32_t width;
    Dictionary *dictionary; /* if the values are numbers of texts */
    char is_left_out; /* nobody asked for it: null in every row, its buffers are the table's zeros */
    int64_t nulls;
    Buffer validity, offsets, values;
} Column;

/* Columns of equal length, shared by whoever was given a part of them; freed without Python. */
typedef struct {
    int references;
    int64_t rows;
    Ahead ahead;
    unsigned char *zeros; /* what the columns that were left out consist of, once the table is whole */
    Py_ssize_t count;
    Column columns[];
} Table;

typedef struct {
    PyObject_HEAD
    Table *table;
} Chunk;

#define SLACK 8 /* bytes behind a text's end that may be written */

/* Records on their way into columns, so many together that each column is filled by a loop of its own. */
#define ROWS_AT_ONCE 256

typedef struct {
    int count;
    size_t size; /* of all bodies */
    const Run *runs[ROWS_AT_ONCE];
    const unsigned char *bodies[ROWS_AT_ONCE];
    uint32_t sizes[ROWS_AT_ONCE];
    int32_t tids[ROWS_AT_ONCE];
    int64_t times[ROWS_AT_ONCE];
    int64_t pids[ROWS_AT_ONCE];
    unsigned char has_pid[ROWS_AT_ONCE];
} Gathered;

int column_reserve(Column *column, const Gathered *gathered);
void column_numbers(Column *column, const void *numbers, int count);
int column_fields(Column *column, const Reading *reading, const Gathered *gathered, int64_t row);
int column_null(Column *column, int64_t row);
int column_widen(Column *column, int64_t rows);
int text_append(Buffer *texts, Span span, size_t left);
Dictionary *dictionary_new(void);
void dictionary_free(Dictionary *dictionary);
int dictionary_reserve(Dictionary *dictionary, const Gathered *gathered);
int dictionary_append(Column *column, const Reading *reading, const Gathered *gathered, int64_t row);
Table *table_new(PyObject *schema, PyObject *left_out);
int table_zeros(Table *table);
void table_expect(Table *table, uint64_t done, uint64_t size);
void table_trim(Table *table);
void table_put(Table *table);
PyObject *chunk_of(Table *table);

#endif
