#include <shortrun/train.h>
