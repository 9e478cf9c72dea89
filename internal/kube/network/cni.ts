/** What the CNI configuration of a node needs to know. */
export interface CniSettings {
  readonly networkName: string;
  readonly bridge: string;
  /** This node's part of the pod network. */
  readonly podCIDR: string;
  readonly mtu: number;
  /** Where host-local keeps the addresses that it gave out. */
  readonly dataDir: string;
}

/**
 * The CNI network configuration list (CNI specification 0.4.0, which the plug-ins of Debian 12 and containerd 1.6 speak). Neither portmap
 * nor ipMasq: both drive iptables; host ports and masquerading are in our nftables table.
 */
export function renderConflist(settings: CniSettings): string {
  const list = {
    cniVersion: '0.4.0',
    name: settings.networkName,
    plugins: [
      {
        type: 'bridge',
        bridge: settings.bridge,
        isDefaultGateway: true,
        forceAddress: true,
        hairpinMode: true,
        mtu: settings.mtu,
        ipam: { type: 'host-local', ranges: [[{ subnet: settings.podCIDR }]], dataDir: settings.dataDir },
      },
    ],
  };
  return `${JSON.stringify(list, null, 2)}\n`;
}
