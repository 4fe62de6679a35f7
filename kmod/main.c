// SPDX-License-Identifier: GPL-2.0
/* ksnif: packet capture in the kernel. Where to start reading: ksnif.h has the map. */
#include <linux/module.h>

#include "ksnif.h"

/* What users reach registers last and unregisters first. */
static int __init ksnif_init(void)
{
	int err;

	ksnif_settings_limits();
	err = ksnif_capture_register();
	if (err)
		goto err_capture;
	err = ksnif_testpoint_init() ?: ksnif_device_register();
	if (err)
		goto err_device;
	err = IS_ENABLED(CONFIG_KSNIF_PROCFS) ? ksnif_proc_register() : 0;
	if (err)
		goto err_proc;
	/* the last: a dump that has begun keeps pointers into a module that then fails to load */
	err = ksnif_netlink_register();
	if (err)
		goto err_netlink;
	ksnif_testpoint_register();
	return 0;

err_netlink:
	if (IS_ENABLED(CONFIG_KSNIF_PROCFS))
		ksnif_proc_unregister();
err_proc:
	ksnif_device_unregister();
err_device:
	ksnif_capture_unregister();
err_capture:
	ksnif_queue_exit();
	return err;
}

static void __exit ksnif_exit(void)
{
	ksnif_testpoint_unregister();
	ksnif_netlink_unregister();
	if (IS_ENABLED(CONFIG_KSNIF_PROCFS))
		ksnif_proc_unregister();
	ksnif_device_unregister();
	ksnif_capture_unregister();
	ksnif_queue_exit();
}

module_init(ksnif_init);
module_exit(ksnif_exit);

MODULE_DESCRIPTION("Packet capture in the kernel");
MODULE_AUTHOR("The ksnif authors");
MODULE_LICENSE("GPL");
MODULE_VERSION(KSNIF_VERSION);
MODULE_ALIAS_GENL_FAMILY(KSNIF_FAMILY_NAME);
