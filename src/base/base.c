#include <shortrun/base.h>
