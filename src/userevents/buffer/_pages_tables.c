/* Tables: the memory of their columns, from the first of it to the last.
 *
 * A million rows take 50 MB, and memory that is fresh from the kernel costs as much time as filling it. So while rows
 * come, a thread beside us makes ready what will be wanted next, where there is a CPU for it. It knows addresses
 * only: no Python, no table. Why so: docs/notes/0070-memory-made-ready-beside.md.
 */
#include "_pages_arrow.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; before it there is only an error, and all is as without the thread */
#endif

#define EXPECT_FROM (1 << 14) /* rows: fewer are not worth a thread */
#define STEP_ROWS (1 << 14)   /* the columns are made ready side by side, as they are filled */
#define MARGIN (17.0 / 16)
#define STACK_SIZE (1 << 18)

/* What will be written of one buffer. */
struct Part {
    uintptr_t start;
    size_t size;
};

/* An empty table for a schema; NULL with an exception if it is none. */
Table *table_new(PyObject *schema, PyObject *left_out)
{
    Py_ssize_t count = PyTuple_Size(schema);
    const char *flags = PyBytes_Size(left_out) ? PyBytes_AsString(left_out) : NULL;
    if (flags && PyBytes_Size(left_out) != count) {
        PyErr_SetString(PyExc_ValueError, "what is left out does not go with the schema");
        return NULL;
    }
    Table *table = calloc(1, sizeof *table + (size_t)count * sizeof *table->columns);
    if (!table)
        return (Table *)PyErr_NoMemory();
    table->references = 1;
    table->count = count;
    for (Py_ssize_t number = 0; number < count; number++) {
        Column *column = &table->columns[number];
        const char *name, *format;
        int32_t zero = 0;
        PyObject *described = PyTuple_GetItem(schema, number);
        if (!is_tuple(described) || !PyArg_ParseTuple(described, "ssI", &name, &format, &column->width))
            goto failed;
        int is_coded = !strcmp(format, "d:u");
        column->name = strdup(name);
        column->format = strdup(is_coded ? "i" : format);
        if (!column->name || !column->format || (is_coded && !(column->dictionary = dictionary_new()))) {
            PyErr_NoMemory();
            goto failed;
        }
        column->is_left_out = flags && flags[number];
        if (!column->width) {
            if (buffer_reserve(&column->offsets, sizeof zero) < 0)
                goto failed;
            memcpy(column->offsets.data, &zero, sizeof zero);
            column->offsets.used = sizeof zero;
        }
    }
    return table;
failed:
    table_put(table);
    return NULL;
}

/* Make the zeros that stand for the columns which were left out: validity, offsets and values in one. */
int table_zeros(Table *table)
{
    size_t most = 0;
    for (Py_ssize_t number = 0; number < table->count; number++) {
        const Column *column = &table->columns[number];
        size_t size = column->width ? (size_t)table->rows * column->width : 4 * (size_t)(table->rows + 1);
        if (column->is_left_out && size >= most)
            most = size + 1; /* never none */
    }
    if (most && !table->zeros && !(table->zeros = calloc(1, most))) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

/* Make all parts ready, a step of each at a time. Every page has a byte of ours, so it is there. */
static void *make_ready(void *argument)
{
    Ahead *ahead = argument;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (size_t step = 0; step < ahead->steps; step++)
        for (Py_ssize_t number = 0; number < ahead->count; number++) {
            const struct Part *part = &ahead->parts[number];
            uintptr_t from = (part->start + part->size / ahead->steps * step) & ~(page - 1);
            uintptr_t end = step + 1 < ahead->steps ? part->start + part->size / ahead->steps * (step + 1)
                                                    : part->start + part->size;
            end = (end + page - 1) & ~(page - 1);
            if (__atomic_load_n(&ahead->is_ending, __ATOMIC_RELAXED) ||
                (part->size && madvise((void *)from, end - from, MADV_POPULATE_WRITE)))
                return NULL;
        }
    return NULL;
}

/* Wait until nobody makes anything ready any more. */
void ahead_end(Ahead *ahead)
{
    if (!ahead->parts)
        return;
    __atomic_store_n(&ahead->is_ending, 1, __ATOMIC_RELAXED);
    if (ahead->owner == getpid())
        pthread_join(ahead->thread, NULL);
    free(ahead->parts);
    ahead->parts = NULL;
}

/* Start the thread, which takes no signals. */
static int ahead_start(Ahead *ahead)
{
    sigset_t all, before;
    pthread_attr_t small;
    if (pthread_attr_init(&small))
        return -1;
    sigfillset(&all);
    pthread_attr_setstacksize(&small, STACK_SIZE);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&ahead->thread, &small, make_ready, ahead);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&small);
    return failed ? -1 : 0;
}

static int has_second_cpu(void)
{
    cpu_set_t cpus;
    return sched_getaffinity(0, sizeof cpus, &cpus) || CPU_COUNT(&cpus) > 1; /* it fails where there are thousands */
}

/* Make room for `most` bytes more, and name the first `size` of them; without memory there are none. */
static struct Part expect_bytes(Ahead *ahead, Buffer *buffer, size_t size, size_t most)
{
    if (buffer_reserve(buffer, most) < 0)
        return (struct Part){0, 0};
    buffer->ahead = ahead;
    return (struct Part){(uintptr_t)buffer->data + buffer->used, size};
}

/* Make room for `most` rows more, and name what the first `rows` of them will take; return in how many parts. */
static Py_ssize_t expect_rows(Table *table, struct Part *parts, size_t rows, size_t most)
{
    Py_ssize_t count = 0;
    for (Column *column = table->columns; column < table->columns + table->count; column++) {
        Buffer *values = &column->values;
        double width = column->width ? column->width : (double)values->used / (double)table->rows;
        if (column->is_left_out)
            continue;
        parts[count++] = expect_bytes(&table->ahead, values, (size_t)(width * (double)rows), (size_t)(width * (double)most));
        if (!column->width)
            parts[count++] = expect_bytes(&table->ahead, &column->offsets, rows * sizeof(int32_t), most * sizeof(int32_t));
    }
    return count;
}

/* Rows came from `done` of `size` bytes: make room for the rest of them, and ready for at most as many again. */
void table_expect(Table *table, uint64_t done, uint64_t size)
{
    Ahead *ahead = &table->ahead;
    if (table->rows < EXPECT_FROM || table->rows + EXPECT_FROM / 2 < ahead->rows || done >= size)
        return;
    double rest = (double)table->rows * ((double)(size - done) / (double)done) * MARGIN;
    int64_t most = ROWS_MAX - table->rows;
    most = rest < (double)most ? (int64_t)rest : most;
    int64_t rows = table->rows < most ? table->rows : most;
    ahead_end(ahead);
    ahead->rows = table->rows + rows;
    struct Part *parts = rows < EXPECT_FROM || !has_second_cpu() ? NULL : calloc((size_t)table->count, 2 * sizeof *parts);
    if (!parts)
        return;
    Py_ssize_t count = expect_rows(table, parts, (size_t)rows, (size_t)most);
    *ahead = (Ahead){.owner = getpid(), .steps = (size_t)rows / STEP_ROWS + 1, .count = count, .parts = parts,
                     .rows = ahead->rows};
    if (ahead_start(ahead) < 0) {
        ahead->parts = NULL;
        free(parts);
    }
}

static void trim(Buffer *buffer)
{
    size_t room = buffer->used + SLACK;
    unsigned char *data = buffer->ahead && buffer->room > room ? realloc(buffer->data, room) : NULL;
    if (data) {
        buffer->data = data;
        buffer->room = room;
    }
}

/* Give back what was made ready and is not wanted. */
void table_trim(Table *table)
{
    ahead_end(&table->ahead);
    for (Column *column = table->columns; column < table->columns + table->count; column++) {
        trim(&column->values);
        trim(&column->offsets);
    }
}

void table_put(Table *table)
{
    if (!table || __atomic_sub_fetch(&table->references, 1, __ATOMIC_ACQ_REL))
        return;
    ahead_end(&table->ahead);
    for (Py_ssize_t number = 0; number < table->count; number++) {
        Column *column = &table->columns[number];
        free(column->name);
        free(column->format);
        buffer_free(&column->validity);
        buffer_free(&column->offsets);
        buffer_free(&column->values);
        dictionary_free(column->dictionary);
    }
    free(table->zeros);
    free(table);
}
