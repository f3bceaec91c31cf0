/* Records of one event as columns: the twin of formats/columns.py. _pages_arrow.c hands them over. */
#include "_pages_arrow.h"

PyTypeObject *columns_type;

#define COMMON 4 /* ts_ns, cpu, pid, tid stand before the fields */
#define PID 2
#define FIXED_MAX 256 /* longer arrays are binary: a field may claim any size */
#define BYTES_MAX (1 << 30) /* of one column: with the longest value more they stay within 32-bit offsets */
#define TEXT_GROWTH 4 /* \xNN for a byte */

typedef struct {
    PyObject_HEAD
    PyObject *schema; /* ((name, format, width), ...), the common columns first */
    PyObject *left_out; /* bytes: of each column, whether it is left out; none of no column */
    Table *table;
    Reading *readings;
    Py_ssize_t count;
    int64_t *nulls; /* of each column, before the rows that are being appended */
    Owners owners;
    long long shift;
    uint16_t id;
    char is_busy; /* a callback runs: the room that was made is spoken for */
} Columns;

/* What is known of the threads of the records that are gathered: a small cache before `owner_of`. */
#define CACHED 64

typedef struct {
    const PyObject *tag;
    int64_t pid;
    uint32_t cpu;
    int32_t tid;
    char is_set, has_pid;
} Known;

/* Find the processes of all that is gathered. The callback may run any code, so nothing is appended yet. */
static int find_pids(Columns *columns, Gathered *gathered)
{
    Known cache[CACHED] = {0};
    if (columns->table->columns[PID].is_left_out)
        return 0;
    for (int number = 0; number < gathered->count; number++) {
        const Run *run = gathered->runs[number];
        int32_t tid = gathered->tids[number];
        Known *known = &cache[((uint32_t)tid ^ run->cpu << 3) % CACHED];
        if (!known->is_set || known->tag != run->tag || known->cpu != run->cpu || known->tid != tid) {
            int holds;
            PyObject *who = owner_of(&columns->owners, run, tid, gathered->times[number], &holds);
            if (!who)
                return -1;
            int has_pid = who != Py_None;
            int64_t pid = has_pid ? PyLong_AsLongLong(who) : 0;
            Py_DECREF(who);
            if (pid == -1 && PyErr_Occurred())
                return -1;
            *known = (Known){run->tag, pid, run->cpu, tid, (char)holds, (char)has_pid};
        }
        gathered->pids[number] = known->pid;
        gathered->has_pid[number] = (unsigned char)known->has_pid;
    }
    return 0;
}

static void put_numbers(Column *column, const void *numbers, int count)
{
    if (!column->is_left_out)
        column_numbers(column, numbers, count);
}

static int put_common(Table *table, const Gathered *gathered)
{
    int32_t cpus[ROWS_AT_ONCE];
    for (int number = 0; number < gathered->count; number++)
        cpus[number] = (int32_t)gathered->runs[number]->cpu;
    put_numbers(&table->columns[0], gathered->times, gathered->count);
    put_numbers(&table->columns[1], cpus, gathered->count);
    put_numbers(&table->columns[3], gathered->tids, gathered->count);
    Column *pids = &table->columns[PID];
    if (pids->is_left_out)
        return 0;
    int all = 1;
    for (int number = 0; number < gathered->count; number++)
        all &= gathered->has_pid[number];
    if (all)
        column_numbers(pids, gathered->pids, gathered->count);
    for (int number = 0; !all && number < gathered->count; number++)
        if (gathered->has_pid[number])
            column_numbers(pids, &gathered->pids[number], 1);
        else if (column_null(pids, table->rows + number) < 0)
            return -1;
    return 0;
}

static int put_fields(Columns *columns, const Gathered *gathered)
{
    Table *table = columns->table;
    for (Py_ssize_t field = 0; field < columns->count; field++)
        if (!table->columns[COMMON + field].is_left_out &&
            column_fields(&table->columns[COMMON + field], &columns->readings[field], gathered, table->rows) < 0)
            return -1;
    return 0;
}

/* Take back what was appended of rows that are not whole. */
static void cut_back(Table *table, const int64_t *nulls)
{
    for (Py_ssize_t number = 0; number < table->count; number++) {
        Column *column = &table->columns[number];
        if (column->is_left_out)
            continue;
        size_t bits = (size_t)(table->rows + 7) / 8;
        column->nulls = nulls[number];
        if (column->validity.used > bits)
            column->validity.used = bits;
        if (table->rows % 8 && column->validity.used == bits)
            column->validity.data[bits - 1] |= (unsigned char)(0xFF << table->rows % 8);
        if (column->width) {
            column->values.used = (size_t)table->rows * column->width;
        } else {
            column->offsets.used = 4 * (size_t)(table->rows + 1);
            column->values.used = load_u32(column->offsets.data + 4 * (size_t)table->rows);
        }
    }
}

/* Append all that is gathered, or nothing. */
static int put_gathered(Columns *columns, Gathered *gathered)
{
    Table *table = columns->table;
    if (!gathered->count)
        return 0;
    if (find_pids(columns, gathered) < 0)
        return -1;
    for (Py_ssize_t number = 0; number < table->count; number++) {
        columns->nulls[number] = table->columns[number].nulls;
        if (!table->columns[number].is_left_out && column_reserve(&table->columns[number], gathered) < 0)
            return -1;
    }
    if (put_common(table, gathered) < 0 || put_fields(columns, gathered) < 0) {
        cut_back(table, columns->nulls);
        return -1;
    }
    table->rows += gathered->count;
    return 0;
}

/* The bytes that the fullest column takes yet; none once the table is full. */
static size_t room_left(const Table *table)
{
    size_t most = 0;
    for (Py_ssize_t number = COMMON; number < table->count; number++) {
        const Column *column = &table->columns[number];
        size_t used = column->dictionary ? column->dictionary->texts.used : column->values.used;
        most = used > most ? used : most;
    }
    return most >= BYTES_MAX || table->rows >= ROWS_MAX ? 0 : BYTES_MAX - most;
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
        if (number >= COMMON && is_text(reading->kind) && columns->table->columns[number].dictionary)
            width = sizeof(int32_t);
        if (columns->table->columns[number].width != width)
            return 0;
    }
    return 1;
}

static PyObject *columns_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"event_id", "readings", "schema", "who", "shift", "left_out", NULL};
    PyObject *readings, *schema, *who, *left_out = NULL;
    unsigned short id;
    long long shift = 0;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "HOO!O|LS", names, &id, &readings, &PyTuple_Type, &schema, &who,
                                     &shift, &left_out))
        return NULL;
    if (check_shift(shift) < 0)
        return NULL;
    Columns *columns = new_object(type);
    if (!columns)
        return NULL;
    columns->id = id;
    columns->shift = shift;
    columns->schema = Py_NewRef(schema);
    columns->left_out = left_out ? Py_NewRef(left_out) : PyBytes_FromStringAndSize("", 0);
    if (!columns->left_out || !(columns->readings = read_plan(readings, &columns->count)) ||
        !(columns->table = table_new(schema, columns->left_out)) ||
        owners_init(&columns->owners, who) < 0) {
        Py_CLEAR(columns);
    } else if (!(columns->nulls = PyMem_Calloc((size_t)columns->table->count, sizeof *columns->nulls))) {
        PyErr_NoMemory();
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
    PyMem_Free(columns->nulls);
    owners_clear(&columns->owners);
    Py_XDECREF(columns->schema);
    Py_XDECREF(columns->left_out);
    table_put(columns->table);
    free_object((PyObject *)columns);
}

static PyObject *refuse_busy(void)
{
    PyErr_SetString(PyExc_RuntimeError, "columns are being added to");
    return NULL;
}

/* Begin to gather. `room`: the bytes that the text of all that is gathered may take; the rows that may be gathered. */
static int begin(const Table *table, Gathered *gathered, size_t *room)
{
    int64_t rows = ROWS_MAX - table->rows;
    *room = room_left(table);
    gathered->count = 0;
    gathered->size = 0;
    return *room && rows > 0 ? (rows < ROWS_AT_ONCE ? (int)rows : ROWS_AT_ONCE) : 0;
}

static inline void gather(Gathered *gathered, const Run *run, const unsigned char *body, uint32_t size, int64_t time)
{
    int place = gathered->count++;
    gathered->runs[place] = run;
    gathered->bodies[place] = body;
    gathered->sizes[place] = size;
    gathered->times[place] = time;
    gathered->tids[place] = (int32_t)load_u32(body + 4);
    gathered->size += size;
}

/* Append the records of a batch from number `done` on; return how far they fitted, -1 after a failure. */
static Py_ssize_t add_batch(Columns *columns, const Batch *batch, Py_ssize_t done)
{
    Gathered gathered;
    size_t room;
    int rows = begin(columns->table, &gathered, &room);
    Py_ssize_t seen = 0;
    for (Segment *part = batch->segments; part < batch->segments + batch->used; part++) {
        const Run *run = part->run;
        Py_ssize_t size = part->stop - part->first;
        for (Py_ssize_t each = done > seen ? done - seen : 0; each < size; each++) {
            uint32_t number = part->first + (uint32_t)each, start = run->starts[number];
            uint32_t kind = run->bytes[start] & TYPE_LEN_MASK;
            const unsigned char *body = run->bytes + start + (kind ? 4 : 8);
            if (load_u16(body) != columns->id)
                continue;
            uint32_t body_size = kind ? kind << 2 : load_u32(body - 4) - 4;
            size_t most = TEXT_GROWTH * (size_t)body_size;
            if (gathered.count == rows || (gathered.count && most > room)) {
                if (put_gathered(columns, &gathered) < 0)
                    return -1;
                rows = begin(columns->table, &gathered, &room);
                if (!rows)
                    return seen + each;
            }
            room -= most < room ? most : room;
            gather(&gathered, run, body, body_size, (int64_t)run->times[number] + columns->shift);
        }
        seen += size;
    }
    return put_gathered(columns, &gathered) < 0 ? -1 : seen;
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

/* Hear how far whoever adds has come: so many more rows may follow as so far, by the share that was read. */
static PyObject *columns_expect(Columns *columns, PyObject *args)
{
    unsigned long long done, size;
    if (!PyArg_ParseTuple(args, "KK", &done, &size))
        return NULL;
    if (columns->is_busy)
        return refuse_busy();
    table_expect(columns->table, done, size);
    Py_RETURN_NONE;
}

static PyObject *columns_take(Columns *columns, PyObject *nothing)
{
    (void)nothing;
    if (columns->is_busy)
        return refuse_busy();
    Table *table = columns->table, *next = table_zeros(table) < 0 ? NULL : table_new(columns->schema, columns->left_out);
    if (!next)
        return NULL;
    for (Py_ssize_t number = 0; number < table->count; number++)
        if (table->columns[number].nulls && column_widen(&table->columns[number], table->rows) < 0) {
            table_put(next);
            return NULL;
        }
    table_trim(table);
    columns->table = next;
    return chunk_of(table);
}

GUARDED(columns_add)
GUARDED(columns_expect)
GUARDED(columns_take)

static PyMethodDef columns_methods[] = {
    {"add", (PyCFunction)columns_add_guarded, METH_VARARGS, "Take in a batch, from a record on; return how far it fitted."},
    {"expect", (PyCFunction)columns_expect_guarded, METH_VARARGS, "Hear how many bytes were read, and of how many."},
    {"take", (PyCFunction)columns_take_guarded, METH_NOARGS, "Return the columns so far, and begin anew."},
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
