#include <shortrun/data.h>
