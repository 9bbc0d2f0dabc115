/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A guest's program: vsock-ask PORT TEXT sends a line to the host's port, and
 * prints the answer.
 */
#include <sys/socket.h>

#include <err.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int
main(int argc, char **argv)
{
	struct sockaddr_vm host = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_HOST,
	};
	char answer[256];
	ssize_t n;
	int fd;

	if (argc != 3)
		errx(2, "usage: vsock-ask PORT TEXT");
	host.svm_port = (unsigned)strtoul(argv[1], NULL, 10);
	fd = socket(AF_VSOCK, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&host, sizeof(host)) < 0)
		err(1, "connecting to the host's port %s", argv[1]);
	if (dprintf(fd, "%s\n", argv[2]) < 0)
		err(1, "writing");
	while ((n = read(fd, answer, sizeof(answer))) > 0)
		(void)fwrite(answer, 1, (size_t)n, stdout);
	if (n < 0)
		err(1, "reading");
	return 0;
}
