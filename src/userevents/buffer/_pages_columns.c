/* Records of one event as columns: the twin of formats/columns.py. _pages_arrow.c hands them over. */
#include "_pages_arrow.h"

PyTypeObject *columns_type;

#define COMMON 4 /* ts_ns, cpu, pid, tid stand before the fields */
#define FIXED_MAX 256 /* longer arrays are binary: a field may claim any size */
#define ROWS_MAX (1 << 20)
#define BYTES_MAX (1 << 30) /* of one column: with the longest value more they stay within 32-bit offsets */

typedef struct {
    PyObject_HEAD
    PyObject *schema; /* ((name, format, width), ...), the common columns first */
    Table *table;
    Reading *readings;
    Py_ssize_t count;
    Owners owners;
    long long shift;
    uint16_t id;
    char is_busy; /* a callback runs: the room that was made is spoken for */
} Columns;

static int reserve(Buffer *buffer, size_t more)
{
    if (buffer->room - buffer->used >= more)
        return 0;
    size_t room = buffer->room ? 2 * buffer->room : 1024;
    while (room - buffer->used < more)
        room *= 2;
    unsigned char *data = realloc(buffer->data, room);
    if (!data) {
        PyErr_NoMemory();
        return -1;
    }
    buffer->data = data;
    buffer->room = room;
    return 0;
}

static int append(Buffer *buffer, const void *data, size_t size)
{
    if (reserve(buffer, size) < 0)
        return -1;
    if (size)
        memcpy(buffer->data + buffer->used, data, size);
    buffer->used += size;
    return 0;
}

/* Make the validity bits reach to `rows`; what is new is valid. */
static int widen(Column *column, int64_t rows)
{
    size_t size = (size_t)(rows + 7) / 8;
    if (size <= column->validity.used)
        return 0;
    if (reserve(&column->validity, size - column->validity.used) < 0)
        return -1;
    memset(column->validity.data + column->validity.used, 0xFF, size - column->validity.used);
    column->validity.used = size;
    return 0;
}

static int append_null(Column *column, int64_t row)
{
    static const unsigned char zeros[64];
    if (widen(column, row + 1) < 0)
        return -1;
    column->validity.data[row / 8] &= (unsigned char)~(1 << row % 8);
    column->nulls++;
    for (uint32_t left = column->width, size; left; left -= size) {
        size = left < sizeof zeros ? left : sizeof zeros;
        if (append(&column->values, zeros, size) < 0)
            return -1;
    }
    return 0;
}

/* Text that is UTF-8 as it is; other bytes in it become \xNN, as in a report. */
static int append_text(Buffer *values, Span span)
{
    if (is_ascii(span))
        return append(values, span.data, span.size);
    Py_ssize_t size;
    PyObject *text = PyUnicode_DecodeUTF8((const char *)span.data, (Py_ssize_t)span.size, "backslashreplace");
    const char *bytes = text ? PyUnicode_AsUTF8AndSize(text, &size) : NULL;
    int done = bytes ? append(values, bytes, (size_t)size) : -1;
    Py_XDECREF(text);
    return done;
}

/* Append a value of fixed width, for which there is room. */
static inline void put(Column *column, const void *value, uint32_t width)
{
    unsigned char *at = column->values.data + column->values.used;
    switch (width) {
    case 4: memcpy(at, value, 4); break;
    case 8: memcpy(at, value, 8); break;
    default: memcpy(at, value, width);
    }
    column->values.used += width;
}

/* Append a value that varies in size, or null. */
static int append_field(Column *column, const Reading *reading, Span span, int64_t row)
{
    int done = 0;
    if (!span.data)
        done = append_null(column, row);
    else if (is_text(reading->kind))
        done = append_text(&column->values, span);
    else
        done = append(&column->values, span.data, span.size);
    if (!done && !column->width) {
        int32_t end = (int32_t)column->values.used;
        memcpy(column->offsets.data + column->offsets.used, &end, sizeof end);
        column->offsets.used += sizeof end;
    }
    return done;
}

/* Make room for the fixed part of so many rows. */
static int reserve_rows(Table *table, size_t rows)
{
    for (Py_ssize_t number = 0; number < table->count; number++) {
        Column *column = &table->columns[number];
        if (reserve(column->width ? &column->values : &column->offsets, rows * (column->width ? column->width : 4)) < 0)
            return -1;
    }
    return 0;
}

static int append_pid(Columns *columns, const Run *run, int32_t tid, int64_t time)
{
    Column *column = &columns->table->columns[2];
    PyObject *who = owner_of(&columns->owners, run, tid, time);
    if (!who)
        return -1;
    int is_none = who == Py_None;
    int64_t pid = is_none ? 0 : PyLong_AsLongLong(who);
    Py_DECREF(who);
    if (pid == -1 && PyErr_Occurred())
        return -1;
    if (is_none)
        return append_null(column, columns->table->rows);
    put(column, &pid, sizeof pid);
    return 0;
}

/* Append one record, for whose fixed part there is room; it counts when all of it is there. */
static int add_record(Columns *columns, const Run *run, uint32_t number, uint32_t at)
{
    Table *table = columns->table;
    uint32_t size = record_end(run, run->starts[number]) - at;
    const unsigned char *body = run->bytes + at;
    int64_t time = (int64_t)run->times[number] + columns->shift;
    int32_t cpu = (int32_t)run->cpu, tid = (int32_t)load_u32(body + 4);
    put(&table->columns[0], &time, sizeof time);
    put(&table->columns[1], &cpu, sizeof cpu);
    if (append_pid(columns, run, tid, time) < 0)
        return -1;
    put(&table->columns[3], &tid, sizeof tid);
    for (Py_ssize_t field = 0; field < columns->count; field++) {
        const Reading *reading = &columns->readings[field];
        Column *column = &table->columns[COMMON + field];
        if (column->width && reading->end <= size)
            put(column, body + reading->start, column->width);
        else if (append_field(column, reading, span_of(reading, body, size), table->rows) < 0)
            return -1;
    }
    table->rows++;
    return 0;
}

static int is_full(const Table *table)
{
    if (table->rows >= ROWS_MAX)
        return 1;
    for (Py_ssize_t number = COMMON; number < table->count; number++)
        if (table->columns[number].values.used >= BYTES_MAX)
            return 1;
    return 0;
}

/* An empty table for a schema; NULL with an exception if it is none. */
static Table *table_new(PyObject *schema)
{
    Py_ssize_t count = PyTuple_Size(schema);
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
        column->name = strdup(name);
        column->format = strdup(format);
        if (!column->name || !column->format) {
            PyErr_NoMemory();
            goto failed;
        }
        if (!column->width && append(&column->offsets, &zero, sizeof zero) < 0)
            goto failed;
    }
    return table;
failed:
    table_put(table);
    return NULL;
}

/* Whether each column is as wide as the field it takes. */
static int fits(const Columns *columns)
{
    static const uint32_t widths[COMMON] = {8, 4, 8, 4};
    if (columns->table->count != columns->count + COMMON)
        return 0;
    for (Py_ssize_t number = 0; number < columns->table->count; number++) {
        const Reading *reading = columns->readings + (number < COMMON ? 0 : number - COMMON);
        uint32_t width = number < COMMON ? widths[number]
                         : reading->kind <= BYTES ? reading->end - reading->start : 0;
        if (number >= COMMON && reading->kind == BYTES && width > FIXED_MAX)
            width = 0;
        if (columns->table->columns[number].width != width)
            return 0;
    }
    return 1;
}

static PyObject *columns_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"event_id", "readings", "schema", "who", "shift", NULL};
    PyObject *readings, *schema, *who;
    unsigned short id;
    long long shift = 0;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "HOO!O|L", names, &id, &readings, &PyTuple_Type, &schema, &who, &shift))
        return NULL;
    if (check_shift(shift) < 0)
        return NULL;
    Columns *columns = new_object(type);
    if (!columns)
        return NULL;
    columns->id = id;
    columns->shift = shift;
    columns->schema = Py_NewRef(schema);
    if (!(columns->readings = read_plan(readings, &columns->count)) || !(columns->table = table_new(schema)) ||
        owners_init(&columns->owners, who) < 0) {
        Py_CLEAR(columns);
    } else if (!fits(columns)) {
        PyErr_SetString(PyExc_ValueError, "the schema does not go with the readings");
        Py_CLEAR(columns);
    }
    return (PyObject *)columns;
}

static int columns_traverse(Columns *columns, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)columns));
    Py_VISIT(columns->owners.callback);
    return 0;
}

static void columns_dealloc(Columns *columns)
{
    PyObject_GC_UnTrack(columns);
    PyMem_Free(columns->readings);
    owners_clear(&columns->owners);
    Py_XDECREF(columns->schema);
    table_put(columns->table);
    free_object((PyObject *)columns);
}

static PyObject *refuse_busy(void)
{
    PyErr_SetString(PyExc_RuntimeError, "columns are being added to");
    return NULL;
}

/* Append the records of a batch from number `done` on; return how far they fitted, -1 after a failure. */
static Py_ssize_t add_batch(Columns *columns, const Batch *batch, Py_ssize_t done)
{
    Py_ssize_t seen = 0;
    if (reserve_rows(columns->table, (size_t)batch->records) < 0)
        return -1;
    for (Segment *part = batch->segments; part < batch->segments + batch->used; part++) {
        Py_ssize_t size = part->stop - part->first;
        for (Py_ssize_t each = done > seen ? done - seen : 0; each < size; each++) {
            const Run *run = part->run;
            uint32_t number = part->first + (uint32_t)each, at = body_start(run, run->starts[number]);
            if (load_u16(run->bytes + at) != columns->id)
                continue;
            if (is_full(columns->table))
                return seen + each;
            if (add_record(columns, run, number, at) < 0)
                return -1;
        }
        seen += size;
    }
    return seen;
}

static PyObject *columns_add(Columns *columns, PyObject *args)
{
    PyObject *argument;
    Py_ssize_t done = 0;
    if (!PyArg_ParseTuple(args, "O|n", &argument, &done))
        return NULL;
    if (Py_TYPE(argument) != batch_type || done < 0) {
        PyErr_SetString(PyExc_TypeError, "columns are made of batches");
        return NULL;
    }
    if (columns->is_busy)
        return refuse_busy();
    columns->is_busy = 1;
    done = add_batch(columns, (Batch *)argument, done);
    columns->is_busy = 0;
    return done < 0 ? NULL : PyLong_FromSsize_t(done);
}

static PyObject *columns_take(Columns *columns, PyObject *nothing)
{
    (void)nothing;
    if (columns->is_busy)
        return refuse_busy();
    Table *next = table_new(columns->schema), *table = columns->table;
    if (!next)
        return NULL;
    for (Py_ssize_t number = 0; number < table->count; number++)
        if (table->columns[number].nulls && widen(&table->columns[number], table->rows) < 0) {
            table_put(next);
            return NULL;
        }
    columns->table = next;
    return chunk_of(table);
}

static PyMethodDef columns_methods[] = {
    {"add", (PyCFunction)columns_add, METH_VARARGS, "Take in a batch, from a record on; return how far it fitted."},
    {"take", (PyCFunction)columns_take, METH_NOARGS, "Return the columns so far, and begin anew."},
    {NULL},
};

static PyType_Slot columns_slots[] = {
    {Py_tp_doc, "Collects the records of one event as columns: the native form of columns.PureCollector."},
    {Py_tp_new, columns_new},
    {Py_tp_dealloc, columns_dealloc},
    {Py_tp_traverse, columns_traverse},
    {Py_tp_methods, columns_methods},
    {0, NULL},
};

PyType_Spec columns_spec = {"userevents.buffer._pages.Columns", sizeof(Columns), 0,
                            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, columns_slots};
