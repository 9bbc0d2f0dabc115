# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Compiler and linker flags. Every one is tried with the compiler at hand,
# warnings as errors, so that an older or another compiler loses a flag and
# not the build.

# SHMEMD_CLEANUP_ATTRIBUTE: the code's ownership rules rest on it.
AC_DEFUN([SHMEMD_CLEANUP_ATTRIBUTE], [
    AC_CACHE_CHECK([for __attribute__((cleanup))], [shmemd_cv_cleanup],
        [AC_COMPILE_IFELSE([AC_LANG_PROGRAM(
            [[static void done(int *i) { *i = 0; }]],
            [[int i __attribute__((cleanup(done))) = 1; (void)i;]])],
            [shmemd_cv_cleanup=yes], [shmemd_cv_cleanup=no])])
    AS_IF([test "x$shmemd_cv_cleanup" = xno],
        [AC_MSG_ERROR([this compiler has no __attribute__((cleanup)): use gcc or clang])])
])

# SHMEMD_TRY_CFLAG(VARIABLE, FLAG)
AC_DEFUN([SHMEMD_TRY_CFLAG], [
    AS_VAR_PUSHDEF([cv], [shmemd_cv_cflag_$2])
    AC_CACHE_CHECK([whether $CC accepts $2], [cv], [
        shmemd_save="$CFLAGS"
        CFLAGS="$CFLAGS -Werror $$1 $2"
        AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[#include <stddef.h>]], [[]])],
            [AS_VAR_SET([cv], [yes])], [AS_VAR_SET([cv], [no])])
        CFLAGS="$shmemd_save"])
    AS_VAR_IF([cv], [yes], [$1="$$1 $2"])
    AS_VAR_POPDEF([cv])
])

# SHMEMD_TRY_LDFLAG(VARIABLE, FLAG)
AC_DEFUN([SHMEMD_TRY_LDFLAG], [
    AS_VAR_PUSHDEF([cv], [shmemd_cv_ldflag_$2])
    AC_CACHE_CHECK([whether the linker accepts $2], [cv], [
        shmemd_save="$LDFLAGS"
        LDFLAGS="$LDFLAGS -Werror $2"
        AC_LINK_IFELSE([AC_LANG_PROGRAM([[]], [[]])],
            [AS_VAR_SET([cv], [yes])], [AS_VAR_SET([cv], [no])])
        LDFLAGS="$shmemd_save"])
    AS_VAR_IF([cv], [yes], [$1="$$1 $2"])
    AS_VAR_POPDEF([cv])
])

AC_DEFUN([SHMEMD_WARNINGS], [
    WARN_CFLAGS=
    m4_foreach_w([flag], [-std=gnu17 -Wall -Wextra -Wconversion
        -Wsign-conversion -Wshadow -Wvla -Wformat=2 -Wcast-qual
        -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wwrite-strings
        -Wpointer-arith -Wimplicit-fallthrough -Wnull-dereference
        -Wframe-larger-than=8192 -Wlogical-op -Wduplicated-cond
        -Wduplicated-branches -Wformat-signedness -Wbidi-chars=any
        -Werror=implicit-function-declaration -Werror=implicit-int
        -Werror=incompatible-pointer-types -Werror=int-conversion
        -Werror=return-type -Werror=format-security],
        [SHMEMD_TRY_CFLAG([WARN_CFLAGS], m4_defn([flag]))])
    AS_IF([test "x$enable_werror" = xyes], [WARN_CFLAGS="$WARN_CFLAGS -Werror"])
    AC_SUBST([WARN_CFLAGS])
])

AC_DEFUN([SHMEMD_HARDENING], [
    HARDEN_CFLAGS=
    HARDEN_LDFLAGS=
    m4_foreach_w([flag], [-fstack-protector-strong -fstack-clash-protection
        -ftrivial-auto-var-init=zero -fzero-call-used-regs=used-gpr
        -fno-strict-overflow -fno-delete-null-pointer-checks
        -fstrict-flex-arrays=3 -fno-common -fPIE],
        [SHMEMD_TRY_CFLAG([HARDEN_CFLAGS], m4_defn([flag]))])
    AS_CASE([$host_cpu],
        [x86_64|i?86], [SHMEMD_TRY_CFLAG([HARDEN_CFLAGS], [-fcf-protection=full])],
        [aarch64], [SHMEMD_TRY_CFLAG([HARDEN_CFLAGS], [-mbranch-protection=standard])])
    m4_foreach_w([flag], [-pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack
        -Wl,-z,separate-code -Wl,--as-needed],
        [SHMEMD_TRY_LDFLAG([HARDEN_LDFLAGS], m4_defn([flag]))])
    AS_IF([test "x$enable_sanitizers" = xyes], [
        # _FORTIFY_SOURCE hides accesses from ASan, so it stays off here.
        HARDEN_CFLAGS="$HARDEN_CFLAGS -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
        HARDEN_LDFLAGS="$HARDEN_LDFLAGS -fsanitize=address,undefined"
        AS_IF([test "x$enable_fuzz" = xyes],
            [SHMEMD_TRY_CFLAG([HARDEN_CFLAGS], [-fsanitize=fuzzer-no-link])
            SHMEMD_LIBFUZZER
            AS_CASE(["$HARDEN_CFLAGS:$shmemd_cv_libfuzzer"],
                [*fuzzer-no-link*:yes], [],
                [AC_MSG_ERROR([--enable-fuzz needs libFuzzer: CC=clang, and the package libclang-rt-14-dev (Debian) or compiler-rt (Fedora)])])])
    ], [
        # Left to the packager where the packager has chosen already.
        AS_CASE([" $CFLAGS $CPPFLAGS "], [*_FORTIFY_SOURCE*], [],
            [SHMEMD_FORTIFY])
    ])
    AC_SUBST([HARDEN_CFLAGS])
    AC_SUBST([HARDEN_LDFLAGS])
])

# SHMEMD_LIBFUZZER: the compiler takes its flag also where the library, which
# has the main(), is not installed.
AC_DEFUN([SHMEMD_LIBFUZZER], [
    AC_CACHE_CHECK([whether $CC links libFuzzer], [shmemd_cv_libfuzzer], [
        shmemd_save="$LDFLAGS"
        LDFLAGS="$LDFLAGS -fsanitize=fuzzer,address,undefined"
        AC_LINK_IFELSE([AC_LANG_SOURCE([[
            #include <stddef.h>
            int LLVMFuzzerTestOneInput(const unsigned char *, size_t);
            int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
            { (void)data; (void)size; return 0; }]])],
            [shmemd_cv_libfuzzer=yes], [shmemd_cv_libfuzzer=no])
        LDFLAGS="$shmemd_save"])
])

AC_DEFUN([SHMEMD_FORTIFY], [
    AC_CACHE_CHECK([for the highest _FORTIFY_SOURCE], [shmemd_cv_fortify], [
        shmemd_cv_fortify=no
        shmemd_save="$CFLAGS"
        for level in 3 2; do
            CFLAGS="$shmemd_save -Werror -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$level"
            AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[#include <string.h>]], [[]])],
                [shmemd_cv_fortify=$level; break])
        done
        CFLAGS="$shmemd_save"])
    AS_IF([test "x$shmemd_cv_fortify" != xno],
        [HARDEN_CFLAGS="$HARDEN_CFLAGS -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$shmemd_cv_fortify"])
])
