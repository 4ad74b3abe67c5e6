{
  description = "bellows: elastic image recognition, as a daemon, as a NixOS module and as machine images";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      # both under the Business Source Licence, which nixpkgs counts as unfree
      tools = [
        "packer"
        "terraform"
      ];
      packagesOf =
        system:
        import nixpkgs {
          inherit system;
          config.allowUnfreePredicate = package: lib.elem (lib.getName package) tools;
        };
      each = make: lib.genAttrs systems (system: make (packagesOf system) system);

      revision = self.rev or self.dirtyRev or "unknown";
      appliance =
        system: role:
        lib.nixosSystem {
          modules = [
            ./nixos/appliance.nix
            {
              nixpkgs.hostPlatform = system;
              bellows.appliance = { inherit role revision; };
            }
          ];
        };
    in
    {
      packages = each (
        pkgs: system:
        let
          bellows = pkgs.callPackage ./nixos/package.nix { };
        in
        {
          inherit bellows;
          default = bellows;
          model = pkgs.callPackage ./nixos/model.nix { inherit bellows; };
        }
        // lib.genAttrs' [ "web" "app" ] (role: {
          name = "${role}-image";
          value = (appliance system role).config.system.build.image;
        })
      );

      apps = each (
        pkgs: system:
        let
          built = self.packages.${system};
          app = description: package: {
            type = "app";
            program = lib.getExe package;
            meta = { inherit description; };
          };
        in
        {
          default = app "the whole system on this machine" (
            pkgs.writeShellApplication {
              name = "bellows";
              text = ''
                export BELLOWS_MODEL__ENGINE=''${BELLOWS_MODEL__ENGINE:-${built.model.engine}}
                exec ${lib.getExe built.bellows} "$@"
              '';
            }
          );
          publish = app "both images built, packed, read back and registered" (
            pkgs.callPackage ./nixos/publish.nix {
              inherit revision;
              images = lib.genAttrs [ "web" "app" ] (role: built."${role}-image");
            }
          );
          monitor = app "Prometheus and Grafana on loopback" (pkgs.callPackage ./nixos/monitor-app.nix { });
        }
      );

      checks = each (
        pkgs: system:
        import ./nixos/checks.nix {
          inherit lib pkgs self;
          inherit (self.packages.${system}) bellows;
          appliances = lib.genAttrs [ "web" "app" ] (appliance system);
        }
      );

      nixosModules = {
        default = ./nixos/module.nix;
        monitor = ./nixos/monitor.nix;
      };

      nixosConfigurations = lib.genAttrs [ "web" "app" ] (appliance "x86_64-linux");

      devShells = each (
        pkgs: system: {
          default = pkgs.mkShell {
            inputsFrom = [ self.packages.${system}.bellows ];
            packages = with pkgs; [
              cargo
              cargo-fuzz
              clippy
              curl
              deadnix
              nixfmt
              packer
              prometheus
              (python3.withPackages (python: [ python.pip ]))
              rustfmt
              shellcheck
              terraform
            ];
            ORT_DYLIB_PATH = self.packages.${system}.model.engine;
          };
        }
      );

      formatter = each (pkgs: _: pkgs.nixfmt-tree);
    };
}
