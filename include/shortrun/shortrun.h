// All of libshortrun.
#ifndef SHORTRUN_H
#define SHORTRUN_H

#include <shortrun/base.h>
#include <shortrun/kernels.h>
#include <shortrun/io.h>
#include <shortrun/net.h>
#include <shortrun/data.h>
#include <shortrun/energy.h>
#include <shortrun/quality.h>
#include <shortrun/dynamics.h>
#include <shortrun/density.h>
#include <shortrun/train.h>
#include <shortrun/experiment.h>
#include <shortrun/report.h>

#endif
