/* What _writer.c's module has of _exchange.c. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* The module's state. */
typedef struct {
    PyObject *exchange_type;
    PyObject *status_key; /* "status" */
} ModuleState;

int exchange_exec(PyObject *module);
PyObject *begin_exchange(PyObject *module, PyObject *const *args, Py_ssize_t given);
